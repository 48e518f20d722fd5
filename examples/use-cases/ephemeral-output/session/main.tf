terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

ephemeral "flame_session" "this" {}

output "authorization" {
  value     = provider::flame::authorization_header(ephemeral.flame_session.this.auth_token)
  ephemeral = true # Terraform stores it nowhere
}
