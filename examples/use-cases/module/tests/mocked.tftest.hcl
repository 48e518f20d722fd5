# Tests the module without an API: Terraform mocks the provider, with these values.
mock_provider "flame" {
  mock_resource "flame_session" {
    defaults = {
      id         = "0123456789abcdef"
      auth_token = "a-token-of-nobody"
    }
  }
}

run "rotates_after_its_days" {
  module {
    source = "./session"
  }

  variables {
    days = 7
  }

  assert {
    condition     = flame_session.this.rotate_after == "168h"
    error_message = "A week has 168 hours."
  }

  assert {
    condition     = output.authorization == "Token token=a-token-of-nobody"
    error_message = "The header is not the one that Flame expects."
  }
}
