# The token in AWS Secrets Manager. The argument is write-only, so this resource does
# not store the token. The session does.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
    aws = {
      source = "hashicorp/aws"
    }
  }
}

resource "flame_session" "reports" {
  rotate_after = "720h"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_secretsmanager_secret" "token" {
  name = "flame/token"
}

resource "aws_secretsmanager_secret_version" "token" {
  secret_id        = aws_secretsmanager_secret.token.id
  secret_string_wo = jsonencode({ auth_token = flame_session.reports.auth_token })

  # Changes with every session. A changed number replaces this resource.
  secret_string_wo_version = parseint(substr(flame_session.reports.id, 0, 12), 16)

  lifecycle {
    create_before_destroy = true
  }
}
