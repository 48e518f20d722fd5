resource "flame_session" "reports" {
  rotate_after = "720h" # the first plan after 30 days replaces the session

  rotate_when_changed = {
    release = "2026-03" # so does a change of any value here
  }
}

output "authorization" {
  description = "The value of the Authorization header."
  value       = "Token token=${flame_session.reports.auth_token}"
  sensitive   = true
}
