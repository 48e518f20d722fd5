// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// fault is what happens to the requests of an operation.
type fault struct {
	flametest.Fault
	name        string
	says        string           // what the user reads if the call fails
	never       string           // what would be untrue; "": nothing
	pause       time.Duration    // what Retry-After asks for
	unreachable bool             // nothing listens at the endpoint
	encrypted   bool             // it needs HTTP/2
	accepted    bool             // the endpoint has accepted a token in the same run before
	opens       bool             // it reports success to POST, and so opens a session
	cleanUp     *flametest.Fault // of the DELETE of a token that cannot be kept; nil: none
	check       *flametest.Fault // of the GET after a DELETE that proved nothing; nil: none
}

// waits reports whether its cells mostly wait.
func (f fault) waits() bool {
	return f.Hang || f.Status == http.StatusTooManyRequests || f.pause > 0 && f.pause < time.Minute
}

// Texts in the responses that nobody may see, and the request ID that they may.
const (
	bodyCanary   = "canary-in-the-body"
	headerCanary = "canary-in-a-header"
	requestName  = "req-7f3a.1"
)

// The statuses as the vendor's reference explains them; the others as HTTP does.
var statusMeanings = map[int]string{
	101: "101 (switching protocols)", 200: "although the status was 200",
	301: "301 (moved permanently), a redirect to https://elsewhere.example;",
	302: "302 (found), a redirect to https://elsewhere.example;",
	307: "307 (temporary redirect), a redirect to https://elsewhere.example;",
	400: "400 (invalid request)", 401: "401", 403: "403 (administrators only)", 404: "404 (not found)",
	405: "405 (wrong method)", 406: "406 (the format is not JSON)", 410: "410 (gone)", 422: "422 (unprocessable entity)",
	429: "429 (too many requests)", 500: "500 (server error)", 502: "502 (bad gateway)", 503: "503 (down for maintenance)",
	504: "504 (gateway timeout)",
	520: "520 (a proxy got no valid answer from the server)", 522: "522 (a proxy could not connect to the server in time)",
	524: "524 (a proxy got no answer from the server in time)",
}

// Bodies of responses with the status 200.
var faultBodies = map[string]string{
	"empty":        "",
	"garbage":      "\x00\xff\xfe{{{" + bodyCanary,
	"null":         "null",
	"list":         `[{"auth_token": "` + bodyCanary + `"}]`,
	"too large":    `{"auth_token": "` + bodyCanary + `", "more": "` + strings.Repeat("x", 1<<20) + `"}`,
	"no token":     `{"id": 7, "email": "` + bodyCanary + `"}`,
	"empty token":  `{"id": 7, "auth_token": ""}`,
	"token null":   `{"id": 7, "auth_token": null}`,
	"token number": `{"id": 7, "auth_token": 12345678}`,
	"line break":   `{"id": 7, "auth_token": "line\nbreak-` + bodyCanary + `"}`,
	"NUL":          `{"id": 7, "auth_token": "\u0000` + bodyCanary + `"}`,
	"lost bytes":   `{"id": 7, "auth_token": "` + "\xff" + bodyCanary + `"}`,
	"space":        `{"id": 7, "auth_token": "two ` + bodyCanary + `"}`,
	"quote":        `{"id": 7, "auth_token": "quote\"` + bodyCanary + `"}`,
	"not ASCII":    `{"id": 7, "auth_token": "ü` + bodyCanary + `"}`,
}

// page is a page of HTML.
const page = "<!doctype html><title>Log in</title><p>" + bodyCanary + "</p>"

// A disguise is a page of HTML as a gateway may send it: with a content type, and
// with something before its first tag.
type disguise struct{ contentType, before string }

var disguises = map[string]disguise{
	"-":                   {"text/html", ""},
	"broken type":         {"text/html; charset", "Please log in. "},
	"two charsets":        {"text/html; charset=utf-8; charset=iso-8859-1", "Please log in. "},
	"BOM":                 {"text/html; charset=utf-8", "\ufeff"},
	"BOM as JSON":         {"application/json", "\ufeff"},
	"text first":          {"Text/HTML", "Please log in. "},
	"white space as JSON": {"application/json", "\r\n\t "},
	"XHTML":               {"application/xhtml+xml; charset=utf-8", "Please log in. "},
}

var resetCodes = map[string]http2.ErrCode{
	"REFUSED_STREAM": http2.ErrCodeRefusedStream, "INTERNAL_ERROR": http2.ErrCodeInternal,
	"PROTOCOL_ERROR": http2.ErrCodeProtocol, "CANCEL": http2.ErrCodeCancel,
}

// newFaults returns the faults of the first two columns of a row.
func newFaults(t *testing.T, names, with string) (faults []fault) {
	t.Helper()
	if strings.TrimSpace(with) == "DISGUISES" {
		with = strings.Join(slices.Sorted(maps.Keys(disguises)), ",")
	}
	for name := range strings.SplitSeq(names, ",") {
		for how := range strings.SplitSeq(with, ",") {
			f := newFault(strings.TrimSpace(name))
			if how = strings.TrimSpace(how); how != "-" {
				f.name += ", " + how
				f.add(how)
			}
			if f.says == "" {
				t.Fatalf("%s is not a fault", f.name)
			}
			faults = append(faults, f)
		}
	}
	return faults
}

func newFault(name string) fault {
	f := fault{name: name}
	f.Header = http.Header{"X-Request-Id": {requestName}, "X-Note": {headerCanary}}
	switch name {
	case "cut":
		f.Cut, f.says = true, "before the complete answer arrived"
	case "dropped":
		f.Drop, f.says = true, "before the complete answer arrived"
	case "no answer":
		f.Hang, f.says = true, "no complete answer arrived in time"
	case "nobody listens":
		f.unreachable, f.says = true, "no connection could be made (connection refused)"
	case "own answer":
		f.says = "although the status was 200"
	case "stray bytes":
		f.Stray, f.says = bodyCanary, "nothing"
	case "password in members":
		f.Members, f.says = "{password}", "nothing"
	case "token in members":
		f.Members, f.says = "a {token}", "nothing"
	case "204":
		f.Status, f.opens, f.says = http.StatusNoContent, true, "although the status was 204"
	default:
		f.setAnswer(name)
	}
	return f
}

// setAnswer sets what is sent instead of Flame's own answer.
func (f *fault) setAnswer(name string) {
	if code, ok := resetCodes[name]; ok {
		f.Drop, f.ResetCode, f.encrypted, f.says = true, code, true, "before the complete answer arrived"
		if code == http2.ErrCodeRefusedStream {
			f.says, f.never = "the last result", "no connection could be made" // there was one
		}
		return
	}
	if body, ok := faultBodies[name]; ok {
		f.name, f.Echo = "200, "+name, name == "garbage"
		f.Status, f.Body, f.opens, f.says = http.StatusOK, body, true, "although the status was 200"
		return
	}
	status, body, _ := strings.Cut(name, " ")
	f.Status, _ = strconv.Atoi(status)
	f.says = statusMeanings[f.Status]
	switch body {
	case "HTML":
		f.Body, f.Echo = page, true
	case "":
		f.Body, f.Echo = `{"error": "`+bodyCanary+`"}`, true
	}
	if f.Status/100 == 3 {
		f.Header.Set("Location", "https://elsewhere.example/"+bodyCanary+"?next="+bodyCanary)
	}
}

// add adds what the second column of the table says.
func (f *fault) add(how string) {
	if d, ok := disguises[how]; ok {
		f.Header.Set("Content-Type", d.contentType)
		f.Body = d.before + page
		return
	}
	if rest, after := strings.CutSuffix(how, "after acceptance"); after {
		f.accepted, how = true, rest
	}
	retryAfter := how
	op, answer, _ := strings.Cut(how, " ")
	switch {
	case how == "carried out":
		f.CarryOut = true
		return
	case how == "as text/html":
		f.Header.Set("Content-Type", "text/html; charset=utf-8")
		return
	case how == "a body":
		f.Stray = `{"auth_token": "` + bodyCanary + `"}`
		return
	case how == "HTTP/2":
		f.encrypted = true
		return
	case slices.Contains([]string{"Token", "token", "Basic", "Bearer", "Negotiate"}, op):
		f.Header.Set("WWW-Authenticate", op+` realm="`+headerCanary+`"`)
		return
	case op == "DELETE":
		f.cleanUp = newFollowing(answer)
		f.opens = f.cleanUp.Status/100 != 2 || f.cleanUp.Body != "" // or the success would be a lie
		return
	case op == "GET":
		f.check = newFollowing(answer)
		return
	case how == "":
		return
	case how == "1", how == dateSoon:
		f.pause = time.Second
	case how == "3600":
		f.pause = time.Hour
	case how == "date in an hour":
		f.pause, retryAfter = time.Hour, httpDate(time.Now().Add(time.Hour))
	case how == "past date":
		retryAfter = httpDate(time.Now().Add(-time.Hour))
	}
	f.Header.Set("Retry-After", retryAfter)
}

// newFollowing returns what becomes of a request that follows one with a fault.
func newFollowing(answer string) *flametest.Fault {
	status, what, _ := strings.Cut(answer, " ")
	f := &flametest.Fault{}
	f.Status, _ = strconv.Atoi(status)
	switch what {
	case "HTML":
		f.Body = page
	case "Basic":
		f.Header = http.Header{"Www-Authenticate": {"Basic"}}
	}
	return f
}

// dateSoon is a Retry-After that inject sets, because the matrix takes time.
const dateSoon = "date soon"

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
