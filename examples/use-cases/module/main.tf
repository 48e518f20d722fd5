# A module that wraps the session, for teams that want one way to have a token.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

provider "flame" {}

module "reports" {
  source = "./session"
  days   = 30
}

output "session" {
  description = "Tells sessions apart and reveals nothing of the token."
  value       = module.reports.id
}
