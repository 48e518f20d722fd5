# Revokes a leaked token, and changes nothing else. `read` keeps the token out of the
# shell's history:
#
#   read -rs TF_VAR_leaked_token && export TF_VAR_leaked_token
#   terraform apply -invoke=action.flame_session_revoke.leaked
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
