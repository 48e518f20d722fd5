// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"net/http"
	"net/url"
)

// Operation is a call of the API.
type Operation int

// The calls of the API. The vendor's page on authentication documents OpOpen and
// OpRevoke; OpCheck is the cheapest read in the vendor's reference that needs a
// token.
const (
	OpOpen   Operation = iota // POST sessions
	OpCheck                   // GET organizations
	OpRevoke                  // DELETE sessions
)

var operations = [...]struct{ method, path, query string }{
	OpOpen:   {method: http.MethodPost, path: "sessions"},
	OpCheck:  {method: http.MethodGet, path: "organizations", query: "page=1&per_page=1"},
	OpRevoke: {method: http.MethodDelete, path: "sessions"},
}

// Method returns the HTTP method, such as "POST".
func (o Operation) Method() string { return operations[o].method }

// URL returns the URL of the operation at an endpoint, which must not be zero.
func (o Operation) URL(endpoint Endpoint) *url.URL {
	u := endpoint.url()
	if u.Path == "" {
		u.Path = "/" // otherwise the path does not begin with a slash, which messages and logs show
	}
	u = u.JoinPath(operations[o].path)
	u.RawQuery = operations[o].query
	return u
}
