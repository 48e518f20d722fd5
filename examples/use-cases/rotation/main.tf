# A new token every week, or when the release changes. With create_before_destroy
# both tokens work until everything that uses the token has the new one.
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

# Stands for what uses the token, and is made anew with it.
resource "terraform_data" "service" {
  triggers_replace = {
    session = flame_session.service.id
  }

  lifecycle {
    create_before_destroy = true
  }
}
