# Two sessions that take turns, for consumers that pick up a new token later than in
# the same apply. In each epoch, the one that was opened two epochs ago is replaced, so
# the token of the last epoch still works.
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}

variable "epoch" {
  description = "A number that grows by one with each period. By default, a period is a month."
  type        = number
  default     = null
}

variable "users" {
  description = "A user for each slot. Without it, both slots use the provider's."
  type        = map(string)
  default     = {}
}

locals {
  month = 12 * formatdate("YYYY", plantimestamp()) + formatdate("M", plantimestamp())
  epoch = coalesce(var.epoch, local.month)
  slots = { for epoch in [local.epoch - 1, local.epoch] : ["even", "odd"][epoch % 2] => epoch }
}

resource "flame_session" "slot" {
  for_each = local.slots

  user                = lookup(var.users, each.key, null)
  rotate_when_changed = { epoch = each.value }
}

output "auth_token" {
  description = "The token of this epoch. It works until the end of the next one."
  value       = flame_session.slot[["even", "odd"][local.epoch % 2]].auth_token
  sensitive   = true
}
