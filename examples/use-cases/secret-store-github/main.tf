# The token as a secret of GitHub Actions. The provider has no write-only argument for
# it, so the state holds the token twice: here and in the session.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    github = {
      source  = "integrations/github"
      version = ">= 6.12" # earlier versions call the argument plaintext_value
    }
  }
}

resource "flame_session" "reports" {
  rotate_after = "720h"

  lifecycle {
    create_before_destroy = true
  }
}

resource "github_actions_secret" "token" {
  repository  = "reports"
  secret_name = "FLAME_TOKEN"
  value       = flame_session.reports.auth_token
}
