# A session for each user. The variable with the passwords is ephemeral, so none is
# stored: TF_VAR_passwords='{"ada@example.com": "…", "grace@example.com": "…"}'
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "passwords" {
  description = "Login and password of each user."
  type        = map(string)
  ephemeral   = true
}

variable "users" {
  type    = set(string)
  default = ["ada@example.com", "grace@example.com"]
}

resource "flame_session" "user" {
  for_each = var.users

  user     = each.key
  password = var.passwords[each.key]
}

output "tokens" {
  value     = { for user, session in flame_session.user : user => session.auth_token }
  sensitive = true
}
