# Another resource holds a token that it got by itself. Before Terraform destroys or
# replaces that resource, the action revokes its token. `caller` is the object that is
# being destroyed. You need Terraform 1.16.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "token" {
  type      = string
  sensitive = true
}

# Stands for a resource of another provider.
resource "terraform_data" "legacy_login" {
  triggers_replace = {
    token = var.token
  }

  lifecycle {
    action_trigger {
      events  = [before_destroy]
      actions = [action.flame_session_revoke.legacy]
    }
  }
}

action "flame_session_revoke" "legacy" {
  config {
    auth_token = caller.triggers_replace.token
  }
}
