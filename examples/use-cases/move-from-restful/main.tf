# Takes over a session that magodo/restful has opened as restful_operation.session:
# the token is in its state, so nothing is sent, and nothing that uses it changes.
# Once this is applied everywhere, the moved block and restful can go.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    restful = {
      source = "magodo/restful"
    }
  }
}

moved {
  from = restful_operation.session
  to   = flame_session.session
}

resource "flame_session" "session" {}
