# The token as a Kubernetes secret. The argument is write-only, so this resource does
# not store the token. The session does.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    kubernetes = {
      source = "hashicorp/kubernetes"
    }
  }
}

resource "flame_session" "reports" {
  rotate_after = "720h"

  lifecycle {
    create_before_destroy = true
  }
}

resource "kubernetes_secret_v1" "token" {
  metadata {
    name = "flame"
  }

  data_wo = {
    auth_token = flame_session.reports.auth_token
  }

  # Changes with every session, so that a new token is written.
  data_wo_revision = parseint(substr(flame_session.reports.id, 0, 12), 16)
}
