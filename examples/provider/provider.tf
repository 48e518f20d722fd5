# The login and password come from FLAME_USER and FLAME_PASSWORD, so that neither is
# in a file. The settings below fit an account that allows few requests.
provider "flame" {
  requests_per_second = 5
  max_retries         = 3
  request_timeout     = "20s"
}
