# Terraform forgets the session and leaves its token alive. First import the session
# where it goes to: nothing here revokes the token any more.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

removed {
  from = flame_session.reports

  lifecycle {
    destroy = false
  }
}
