resource "flame_session" "reports" {}

# Sensitive, because the token is.
output "authorization" {
  value     = provider::flame::authorization_header(flame_session.reports.auth_token)
  sensitive = true
}
