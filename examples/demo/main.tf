terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

# Endpoint, user and password come from FLAME_ENDPOINT, FLAME_USER and
# FLAME_PASSWORD, so that none of them is in a file.
provider "flame" {}

resource "flame_session" "reports" {
  rotate_after = "720h"
}

# Stands for whatever needs the token: another provider's resource, a secret
# store, a deployment. It is replaced whenever the session is. (Do not use the
# argument input: terraform_data copies it to output, which is not masked.)
resource "terraform_data" "report_job" {
  triggers_replace = {
    session       = flame_session.reports.id
    authorization = "Token token=${flame_session.reports.auth_token}"
  }
}

output "session" {
  description = "Tells sessions apart, and reveals nothing about the token."
  value       = flame_session.reports.id
}

output "auth_token" {
  description = "The token itself. Terraform masks it."
  value       = flame_session.reports.auth_token
  sensitive   = true
}

output "rotate_at" {
  description = "The first plan after this time replaces the session."
  value       = flame_session.reports.rotate_at
}
