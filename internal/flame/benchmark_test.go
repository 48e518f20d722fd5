// SPDX-License-Identifier: MPL-2.0

package flame

import "testing"

func BenchmarkParseSession(b *testing.B) {
	for name, body := range map[string]string{
		"JSON":                `{"auth_token": "ULzr7GuYA6iyo9EyiFrf", "id": 42, "email": "support@flameanalytics.com"}`,
		"the vendor's sample": `{"auth_token": "ULzr7GuYA6iyo9EyiFrf", "id": , "email": "support@flameanalytics.com"}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parseSession([]byte(body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
