resource "flame_session" "reports" {
  rotate_after = "720h" # the first plan after 30 days opens a new session

  rotate_when_changed = {
    release = "2026-03" # and so does any change of these
  }

  lifecycle {
    create_before_destroy = true # the old token works until the new one is in place
  }
}

output "authorization" {
  description = "What to send in the header Authorization."
  value       = "Token token=${flame_session.reports.auth_token}"
  sensitive   = true
}
