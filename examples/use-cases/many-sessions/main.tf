# A session for each of many users, in 16 groups: Terraform is faster with many
# small blocks than with one that has thousands of instances. The group follows from
# the user, so that a new user moves no other.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "users" {
  type    = set(string)
  default = ["ada@example.com", "grace@example.com", "mary@example.com"]
}

module "sessions" {
  source   = "./sessions"
  for_each = { for user in var.users : substr(sha256(user), 0, 1) => user... }
  users    = each.value

  rotate_after = "${720 + parseint(each.key, 16)}h" # so that not all are due at once
}

output "tokens" {
  value     = merge([for group in module.sessions : group.tokens]...)
  sensitive = true
}
