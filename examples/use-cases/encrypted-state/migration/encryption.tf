# For one apply: read a state in clear text, and write it encrypted.
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
    method "unencrypted" "migration" {}
    state {
      method = method.aes_gcm.default
      fallback {
        method = method.unencrypted.migration
      }
    }
  }
}
