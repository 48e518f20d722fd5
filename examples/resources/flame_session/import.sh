# Terraform prints import IDs, so the ID only names the place of the token: an
# environment variable, or a file (file:token.txt).
terraform import flame_session.reports env:FLAME_TOKEN
