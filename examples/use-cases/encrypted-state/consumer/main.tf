# Another configuration that reads the encrypted state.
variable "state_passphrase" {
  type      = string
  sensitive = true
}

terraform {
  encryption {
    key_provider "pbkdf2" "passphrase" {
      passphrase = var.state_passphrase
    }
    method "aes_gcm" "default" {
      keys = key_provider.pbkdf2.passphrase
    }
    remote_state_data_sources {
      default {
        method = method.aes_gcm.default
      }
    }
  }
}

data "terraform_remote_state" "sessions" {
  backend = "local" # or wherever the state is
  config = {
    path = "../terraform.tfstate"
  }
}

output "authorization" {
  value     = "Token token=${data.terraform_remote_state.sessions.outputs.auth_token}"
  sensitive = true
}
