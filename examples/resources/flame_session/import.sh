# Terraform prints the ID of an import, so it says where the token is: in an
# environment variable, or (file:token.txt) in a file.
terraform import flame_session.reports env:FLAME_TOKEN
