// SPDX-License-Identifier: MPL-2.0

package cos

import backends "github.com/hashicorp/terraform/internal/backend/remote-state"

var New = backends.New
