# Tests everything against an API, which FLAME_ENDPOINT, FLAME_USER and FLAME_PASSWORD
# name. Terraform revokes the session when the test is over.
run "opens_a_session" {
  assert {
    condition     = can(regex("^[0-9a-f]{16}$", output.session))
    error_message = "No session was opened."
  }
}
