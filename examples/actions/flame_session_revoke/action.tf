# Revokes a leaked token, and changes nothing else. It does nothing until you invoke it.
variable "leaked_token" {
  type      = string
  sensitive = true # so that Terraform masks it
  default   = null # so that other runs do not ask for it
}

action "flame_session_revoke" "leaked" {
  config {
    auth_token = var.leaked_token
  }
}
