// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

func TestParseEndpoint(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{flame.DefaultEndpoint, "https://pull.flameanalytics.com/api/v1"},
		{"http://pull.flameanalytics.dev:4003/api/v1", "http://pull.flameanalytics.dev:4003/api/v1"},
		{"https://api.flameanalytics.com/v2", "https://api.flameanalytics.com/v2"},
		{"HTTPS://API.FlameAnalytics.COM/v2", "https://api.flameanalytics.com/v2"},
		{"https://h.example/API/V1", "https://h.example/API/V1"}, // only the host ignores case
		{"https://h.example", "https://h.example"},
		{"https://h.example/", "https://h.example"},
		{"https://h.example/v1/", "https://h.example/v1"},
		{"https://h.example/v1///", "https://h.example/v1"},
		{"https://h.example//api//v1", "https://h.example/api/v1"},
		{"https://h.example/api/./x/../v1", "https://h.example/api/v1"},
		{"https://h.example/../../v1", "https://h.example/v1"},
		{"https://h.example:443/v1", "https://h.example/v1"},
		{"http://h.example:80/v1", "http://h.example/v1"},
		{"https://h.example:80/v1", "https://h.example:80/v1"},
		{"http://h.example:443/v1", "http://h.example:443/v1"},
		{"https://h.example:/v1", "https://h.example/v1"},
		{"https://h.example:4430", "https://h.example:4430"},
		{"https://[::1]:443/v1", "https://[::1]/v1"},
		{"http://[::1]:8080", "http://[::1]:8080"},
		{"http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"},
		{"https://h.example/a%2Fb/v1", "https://h.example/a%2Fb/v1"}, // an escaped slash separates nothing
		{"https://h.example/a%20b", "https://h.example/a%20b"},
	} {
		endpoint, err := flame.ParseEndpoint(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if got := endpoint.String(); got != test.want {
			t.Errorf("%s: got %s, want %s", test.in, got, test.want)
		}
		if endpoint.IsZero() {
			t.Errorf("%s: the endpoint is zero", test.in)
		}
		reparsed, err := flame.ParseEndpoint(endpoint.String())
		if err != nil || reparsed.String() != endpoint.String() {
			t.Errorf("%s: the normalized URL %s is parsed as %s, %v", test.in, endpoint, reparsed, err)
		}
	}
}

func TestParseEndpointErrors(t *testing.T) {
	const secret = "s3cret"
	for _, test := range []struct{ in, want string }{
		{"", "not a URL"},
		{"https://h.example/%zz" + secret, "not a URL"},
		{"https://h.example:" + secret, "not a URL"},
		{"https://h.example/" + secret + "\n", "not a URL"},
		{"https://" + secret + " /v1", "not a URL"},
		{" https://h.example/" + secret, "not a URL"},
		{"https://ada:" + secret + "@h.example/v1", "user name or password"},
		{"https://" + secret + "@h.example/v1", "user name or password"},
		{"https://@h.example/" + secret, "user name or password"},
		{"//ada:" + secret + "@h.example", "user name or password"},
		{"h.example/" + secret, "no scheme"},
		{"//h.example/" + secret, "no scheme"},
		{"/" + secret, "no scheme"},
		{secret, "no scheme"},
		{"ftp://h.example/" + secret, "neither https nor http"},
		{"localhost:" + secret, "neither https nor http"},
		{"https:///" + secret, "no host name"},
		{"https://:8080/" + secret, "no host name"},
		{"https:" + secret, "no host name"},
		{"https://h.example/v1?token=" + secret, "query"},
		{"https://h.example/" + secret + "?", "query"},
		{"https://h.example/v1?a#" + secret, "query"},
		{"https://h.example/v1#" + secret, "fragment"},
		{"https://h.example/" + secret + "#", "fragment"},
	} {
		endpoint, err := flame.ParseEndpoint(test.in)
		switch {
		case err == nil:
			t.Errorf("%q: no error", test.in)
		case !strings.Contains(err.Error(), test.want):
			t.Errorf("%q: %q does not say %q", test.in, err, test.want)
		case strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "h.example"):
			t.Errorf("%q: the error repeats the value: %q", test.in, err)
		}
		if !endpoint.IsZero() || endpoint.String() != "" {
			t.Errorf("%q: got an endpoint with the error", test.in)
		}
	}
}

func TestEndpointPlaintext(t *testing.T) {
	for url, want := range map[string]bool{
		"https://h.example":            false,
		"https://10.0.0.1":             false,
		"http://h.example":             true,
		"http://10.0.0.1:4003":         true,
		"http://0.0.0.0":               true,
		"http://[2001:db8::1]":         true,
		"http://127.0.0.1":             false,
		"http://127.8.9.10:8080":       false,
		"http://[::1]:8080":            false,
		"http://[::ffff:127.0.0.1]":    false,
		"http://localhost:8080":        false,
		"http://LocalHost":             false,
		"http://flame.localhost":       false,
		"http://localhost.example":     true,
		"http://notlocalhost":          true,
		"http://127.0.0.1.example":     true,
		"http://pull.example.dev:4003": true,
	} {
		if got := parse(t, url).Plaintext(); got != want {
			t.Errorf("%s: %v, want %v", url, got, want)
		}
	}
	if (flame.Endpoint{}).Plaintext() {
		t.Error("the zero endpoint is plaintext")
	}
}

// Messages and logs show host and path one after the other.
func TestOperationURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://h.example":           "/sessions",
		"https://h.example/v1":        "/v1/sessions",
		"https://h.example/a%2Fb%20c": "/a/b c/sessions",
	} {
		if got := flame.OpOpen.URL(parse(t, in)).Path; got != want {
			t.Errorf("%s: the path is %q, want %q", in, got, want)
		}
	}
}
