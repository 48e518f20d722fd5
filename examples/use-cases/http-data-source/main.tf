# Sends a request with the token, with the data source of hashicorp/http. The state holds
# the header, and so the token: restrict access to it.
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

resource "flame_session" "reports" {}

data "http" "organizations" {
  url = "${flame_session.reports.endpoint}/organizations?page=1&per_page=10"

  request_headers = {
    Accept        = "application/json"
    Authorization = provider::flame::authorization_header(flame_session.reports.auth_token)
  }

  lifecycle {
    postcondition {
      condition     = self.status_code == 200
      error_message = "Flame answered ${self.status_code}."
    }
  }
}

output "organizations" {
  value = jsondecode(data.http.organizations.response_body)
}
