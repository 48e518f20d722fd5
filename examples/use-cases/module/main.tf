# A module that wraps the session, so that a team gets its tokens in one way.
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
  description = "Tells sessions apart and reveals nothing about the token."
  value       = module.reports.id
}
