// Holds the packages that Terraform expects of its nested backend modules. Has
// no requirements of its own, as only the module above this one builds it.
module github.com/hashicorp/terraform/internal/backend/remote-state

go 1.26
