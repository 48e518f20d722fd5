# The token in Vault. The password comes from Vault too, and is stored nowhere else. The
# argument is write-only, so this resource does not store the token. The session does.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    vault = {
      source = "hashicorp/vault"
    }
  }
}

ephemeral "vault_kv_secret_v2" "login" {
  mount = "secret"
  name  = "flame/login"
}

resource "flame_session" "reports" {
  user         = "reports@example.com"
  password     = ephemeral.vault_kv_secret_v2.login.data.password
  rotate_after = "720h"

  lifecycle {
    create_before_destroy = true
  }
}

resource "vault_kv_secret_v2" "token" {
  mount        = "secret"
  name         = "flame/token"
  data_json_wo = jsonencode({ auth_token = flame_session.reports.auth_token })

  # Changes with every session, so that a new token is written.
  data_json_wo_version = parseint(substr(flame_session.reports.id, 0, 12), 16)
}
