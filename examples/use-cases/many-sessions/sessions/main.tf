terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "users" {
  type = set(string)
}

variable "rotate_after" {
  type = string
}

resource "flame_session" "this" {
  for_each     = var.users
  user         = each.key
  rotate_after = var.rotate_after
}

output "tokens" {
  value     = { for user, session in flame_session.this : user => session.auth_token }
  sensitive = true
}
