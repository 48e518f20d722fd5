# Opens a new session every week, and when the release changes. With
# create_before_destroy, the old token works until everything that uses it has the new
# one.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "release" {
  type    = string
  default = "1"
}

resource "flame_session" "service" {
  rotate_after        = "168h"
  rotate_when_changed = { release = var.release }

  lifecycle {
    create_before_destroy = true
  }
}

# Stands for a resource that must be replaced with each token.
resource "terraform_data" "service" {
  triggers_replace = {
    session = flame_session.service.id
  }

  lifecycle {
    create_before_destroy = true
  }
}
