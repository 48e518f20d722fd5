terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "days" {
  description = "Days until a new token replaces this one."
  type        = number
}

resource "flame_session" "this" {
  rotate_after = "${var.days * 24}h"

  lifecycle {
    create_before_destroy = true
  }
}

output "id" {
  value = flame_session.this.id
}

output "authorization" {
  value     = "Token token=${flame_session.this.auth_token}"
  sensitive = true
}
