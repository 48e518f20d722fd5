# Two sessions of one user, to find out which kind of account it is. Use a user that
# nothing else uses: its other sessions may end.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

resource "flame_session" "probe" {
  count = 2

  lifecycle {
    create_before_destroy = true
  }
}
