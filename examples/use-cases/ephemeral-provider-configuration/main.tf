# Another provider calls the Flame API with a token that lives for one run. No plan file
# and no state holds it.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    restapi = {
      source = "Mastercard/restapi"
    }
  }
}

ephemeral "flame_session" "run" {}

provider "restapi" {
  uri = ephemeral.flame_session.run.endpoint

  headers = {
    Authorization = provider::flame::authorization_header(ephemeral.flame_session.run.auth_token)
  }
}

data "restapi_object" "organization" {
  path         = "/organizations"
  search_key   = "name"
  search_value = "Acme"
}
