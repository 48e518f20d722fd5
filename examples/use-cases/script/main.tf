# A script calls the Flame API with a token that lives for one run. The script reads the
# token from its environment: other users of the machine can see a command line.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

ephemeral "flame_session" "run" {}

resource "terraform_data" "import_job" {
  triggers_replace = "2" # change the number to run the script again

  provisioner "local-exec" {
    command = "printf 'Authorization: %s' \"$AUTHORIZATION\" | curl --fail --silent --show-error --output /dev/null --header @- \"$ENDPOINT/organizations?page=1&per_page=1\""

    environment = {
      ENDPOINT      = ephemeral.flame_session.run.endpoint
      AUTHORIZATION = provider::flame::authorization_header(ephemeral.flame_session.run.auth_token)
    }
  }
}
