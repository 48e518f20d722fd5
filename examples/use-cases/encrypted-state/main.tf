terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

resource "flame_session" "reports" {}

output "auth_token" {
  value     = flame_session.reports.auth_token
  sensitive = true
}
