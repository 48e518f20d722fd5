# One session for each plan and one for each apply. Its token is in no plan file and in
# no state.
ephemeral "flame_session" "deploy" {}

# A program that uses the token. Terraform does not print its output.
resource "terraform_data" "deploy" {
  provisioner "local-exec" {
    command = "echo deploying with session $FLAME_SESSION"
    environment = {
      FLAME_SESSION = ephemeral.flame_session.deploy.id
      FLAME_TOKEN   = ephemeral.flame_session.deploy.auth_token
    }
  }
}
