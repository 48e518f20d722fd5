# A plan opens no session; an apply opens one. Terraform only.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

ephemeral "flame_session" "deploy" {
  open = terraform.applying
}

resource "terraform_data" "deploy" {
  provisioner "local-exec" {
    command = "test -n \"$FLAME_TOKEN\""
    environment = {
      FLAME_TOKEN = ephemeral.flame_session.deploy.auth_token
    }
  }
}
