# Where errored.tfstate and encryption.tf are:
mkdir rescue
cp encryption.tf rescue/encryption.tf
cp errored.tfstate rescue/terraform.tfstate
tofu -chdir=rescue state pull | tofu state push - && rm -r rescue errored.tfstate
