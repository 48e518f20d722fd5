# Two installations of Flame, each with its own login. A token goes only to the endpoint
# that issued it.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "staging" {
  type = object({
    endpoint = string
    user     = string
    password = string
  })
  sensitive = true
}

provider "flame" {} # production: FLAME_ENDPOINT, FLAME_USER, FLAME_PASSWORD

provider "flame" {
  alias    = "staging"
  endpoint = var.staging.endpoint
  user     = var.staging.user
  password = var.staging.password
}

resource "flame_session" "production" {}

resource "flame_session" "staging" {
  provider = flame.staging
}
