// SPDX-License-Identifier: MPL-2.0

// Package parent tells whether the process that started this one has died:
//
//	died := parent.Watch()
//	for range time.Tick(time.Second) {
//		if died() {
//			os.Exit(1)
//		}
//	}
package parent
