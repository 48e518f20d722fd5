terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

# The login and password come from FLAME_USER and FLAME_PASSWORD, so that
# neither stands in a file. What is set here are the limits of the account.
provider "flame" {
  requests_per_second = 5
  max_retries         = 3
  request_timeout     = "20s"
}
