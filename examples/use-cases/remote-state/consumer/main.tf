# Another configuration reads the token from that state. The data source does not
# pass on that the output is sensitive, so mark the token again where you read it.
data "terraform_remote_state" "sessions" {
  backend = "local" # or wherever the state is
  config = {
    path = "../terraform.tfstate"
  }
}

locals {
  auth_token = sensitive(data.terraform_remote_state.sessions.outputs.auth_token)
}

output "authorization" {
  value     = "Token token=${local.auth_token}"
  sensitive = true
}
