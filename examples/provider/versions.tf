terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}
