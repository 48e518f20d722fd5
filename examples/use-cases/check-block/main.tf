# Every plan and apply checks whether the API accepts this token, and warns if it does
# not. A check never fails the run.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    http = {
      source = "hashicorp/http"
    }
  }
}

resource "flame_session" "monitor" {}

check "flame_api" {
  data "http" "organizations" {
    url = "${flame_session.monitor.endpoint}/organizations?page=1&per_page=1"

    request_headers = {
      Authorization = "Token token=${flame_session.monitor.auth_token}"
    }
  }

  assert {
    condition     = data.http.organizations.status_code == 200
    error_message = "Flame answered ${data.http.organizations.status_code}."
  }
}
