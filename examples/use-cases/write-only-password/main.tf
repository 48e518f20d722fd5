# The password is used when the session is opened, and is never stored:
# TF_VAR_password=…, or FLAME_PASSWORD and no password here at all.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "password" {
  type      = string
  ephemeral = true
}

resource "flame_session" "reports" {
  user     = "reports@example.com"
  password = var.password
}
