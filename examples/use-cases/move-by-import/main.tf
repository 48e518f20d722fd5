# Takes over a session that a script has opened. Terraform forgets the resource that ran
# the script, and does not destroy it. Once this is applied everywhere, remove the import
# and removed blocks.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

import {
  to = flame_session.reports
  id = "env:FLAME_TOKEN" # or "file:token.txt", the file that the script wrote
}

resource "flame_session" "reports" {}

removed {
  from = terraform_data.login

  lifecycle {
    destroy = false
  }
}
