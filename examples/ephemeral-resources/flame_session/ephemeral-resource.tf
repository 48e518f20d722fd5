# Open for the time of one run: plan and apply open a session each, and revoke
# it at their end. Its token gets into no plan file and no state.
ephemeral "flame_session" "deploy" {}

# A program that uses the token. Terraform keeps its output to itself.
resource "terraform_data" "deploy" {
  provisioner "local-exec" {
    command = "echo deploying with session $FLAME_SESSION"
    environment = {
      FLAME_SESSION = ephemeral.flame_session.deploy.id
      FLAME_TOKEN   = ephemeral.flame_session.deploy.auth_token
    }
  }
}
