# The password is read from a secret store and is not kept anywhere; the token
# goes back into the store, for programs to read there. Ephemeral and write-only:
# the resource in the store keeps neither in the state. The session does keep
# its token, because it has to revoke it one day.
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

  # A number that changes with every session, so that a new token is written.
  data_json_wo_version = parseint(substr(flame_session.reports.id, 0, 12), 16)
}
