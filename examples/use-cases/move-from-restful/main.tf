# Takes over a session that magodo/restful has opened as restful_operation.session. The
# token is in its state, so nothing is sent. Once this is applied everywhere, remove the
# moved block and the requirement of restful.
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

output "auth_token" {
  value     = flame_session.session.auth_token # was restful_operation.session.output.auth_token
  sensitive = true
}
