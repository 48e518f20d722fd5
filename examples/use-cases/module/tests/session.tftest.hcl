# All of it, against an API: FLAME_ENDPOINT, FLAME_USER and FLAME_PASSWORD say
# which. The session is revoked when the test is over.
run "opens_a_session" {
  assert {
    condition     = can(regex("^[0-9a-f]{16}$", output.session))
    error_message = "No session was opened."
  }
}
