# The password opens the session, and is never stored. Set TF_VAR_password; or set
# FLAME_PASSWORD, and leave the password out here.
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
