// SPDX-License-Identifier: MPL-2.0

package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// answer is what is kept of a response: nothing secret but the token, which prints as
// REDACTED.
type answer struct {
	request   string // such as "GET organizations, first token"
	op        flame.Operation
	status    int    // 0: no answer
	proto     string // such as "HTTP/1.1"
	mediaType string
	schemes   string // of WWW-Authenticate
	body      string // its shape, or why there is no answer
	html      bool
	limits    []string // names of the headers about rate limits
	ids       []string // names of the headers with a request ID
	token     flame.Token
	wait      time.Duration // that a Retry-After in seconds asks for
}

// send sends a request, again only if the answer is 429. Its error means that there was no
// answer.
func (p *Probe) send(ctx context.Context, op flame.Operation, what string, token flame.Token, body []byte) (*answer, error) {
	for tries := 1; ; tries++ {
		a, err := p.sendOnce(ctx, op, what, token, body)
		if err != nil || a.status != http.StatusTooManyRequests || tries == maxTries {
			return a, err
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-time.After(max(a.wait, shortestWait<<(tries-1))):
		}
	}
}

// How long the probe waits where there is a rate limit.
const (
	maxTries     = 8
	shortestWait = 100 * time.Millisecond // doubles with each try
	longestWait  = time.Minute            // that the API can ask for
)

// sendOnce sends one request. An interrupt waits for the answer to a request that is under
// way: it may bring a token.
func (p *Probe) sendOnce(ctx context.Context, op flame.Operation, what string, token flame.Token, body []byte) (*answer, error) {
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	url := op.URL(p.endpoint)
	a := &answer{op: op, request: fmt.Sprintf("%s %s, %s", op.Method(), url.Path[strings.LastIndex(url.Path, "/")+1:], what)}
	p.answers = append(p.answers, a)
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(context.WithoutCancel(ctx), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	ctx, cancel := context.WithTimeout(ctx, flame.DefaultRequestTimeout)
	defer cancel()
	// The transport does not repeat a request whose body it cannot read twice.
	request, err := http.NewRequestWithContext(ctx, op.Method(), url.String(), io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return nil, errors.New("the request could not be made")
	}
	request.ContentLength = int64(len(body))
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !token.IsZero() {
		request.Header.Set("Authorization", "Token token="+token.Reveal()) // not the client's, on which this is a check
	}
	// A transport follows no redirect.
	response, err := p.transport.RoundTrip(request)
	if err == nil {
		err = p.read(a, response)
	}
	if err != nil {
		if op == flame.OpOpen && connected.Load() && (a.status == 0 || a.status/100 == 2) {
			p.lost++
		}
		a.body = reason(err)
		return nil, fmt.Errorf("%s: %s", a.request, a.body)
	}
	return a, nil
}

// reason returns why there is no answer. The error's own text may quote the URL or
// what the server sent.
func reason(err error) string {
	var (
		certificate *tls.CertificateVerificationError
		timeout     net.Error
		op          *net.OpError
	)
	switch {
	case errors.As(err, &certificate):
		return "the server's certificate is not trusted"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no complete answer arrived in time"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection could be made"
	}
	return "no complete answer arrived"
}

// read reads a response into a.
func (p *Probe) read(a *answer, response *http.Response) error {
	defer response.Body.Close() //nolint:errcheck // it was only read
	a.status, a.proto = response.StatusCode, response.Proto
	var body []byte
	if a.status != http.StatusSwitchingProtocols { // its body does not end
		var err error
		if body, err = io.ReadAll(io.LimitReader(response.Body, 1<<20)); err != nil {
			return err
		}
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff")) // a byte order mark
	secrets := []string{p.password.Reveal(), p.user}
	for _, s := range p.sessions {
		secrets = append(secrets, s.token.Reveal())
	}
	if a.op == flame.OpOpen && a.status/100 == 2 {
		var session struct {
			AuthToken string `json:"auth_token"`
		}
		_ = json.Unmarshal(flame.FillMissingValues(body), &session)
		a.token = flame.NewToken(session.AuthToken)
		secrets = append(secrets, session.AuthToken)
	}
	w := words{secrets}
	a.describe(w, response.Header, body)
	return nil
}

// describe fills in what can be shown of a response.
func (a *answer) describe(w words, header http.Header, body []byte) {
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	a.mediaType = w.show(strings.TrimSpace(mediaType))
	a.html = len(body) > 0 && strings.Contains(strings.ToLower(mediaType), "html") || bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff"))), []byte("<"))
	var schemes []string
	for _, challenge := range header.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		schemes = append(schemes, w.show(scheme))
	}
	a.schemes = strings.Join(schemes, ", ")
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch {
		case limitHeader.MatchString(name):
			a.limits = append(a.limits, w.show(name))
		case idHeader.MatchString(name):
			a.ids = append(a.ids, w.show(name))
		}
	}
	a.body = w.shape(body, a.html)
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		a.wait = min(max(0, time.Duration(seconds)*time.Second), longestWait)
	}
}

var (
	limitHeader = regexp.MustCompile(`(?i)rate-?limit|^retry-after$`)
	idHeader    = regexp.MustCompile(`(?i)(request|correlation|trace)-?id|^traceparent$|^cf-ray$`)
)

// words decides which words of a server can be shown.
type words struct{ secrets []string }

// show returns a word, unless it has an unusual form or repeats a secret.
func (w words) show(word string) string {
	if word == "" {
		return ""
	}
	hidden := !plainWord.MatchString(word)
	for _, secret := range w.secrets {
		hidden = hidden || secret != "" && strings.Contains(strings.ToLower(word), strings.ToLower(secret))
	}
	if hidden {
		return "(hidden)"
	}
	return word
}

var plainWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./+-]{0,39}$`)

// shape returns the member names and JSON types of a body.
func (w words) shape(body []byte, html bool) string {
	var value any
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return "empty"
	case html:
		return "a page of HTML"
	case json.Unmarshal(body, &value) == nil:
		return w.typeOf(value, 3)
	case json.Unmarshal(flame.FillMissingValues(body), &value) == nil:
		return w.typeOf(value, 3) + ", a null being a member without a value, which is not JSON"
	}
	return "not JSON"
}

// typeOf returns a JSON type, with what it holds down to a depth.
func (w words) typeOf(value any, depth int) string {
	switch value := value.(type) {
	case map[string]any:
		if depth == 0 {
			return "object"
		}
		var members []string
		for _, name := range slices.Sorted(maps.Keys(value)) {
			members = append(members, w.show(name)+": "+w.typeOf(value[name], depth-1))
		}
		return "{" + strings.Join(members, ", ") + "}"
	case []any:
		if len(value) == 0 || depth == 0 {
			return "array"
		}
		return "array of " + w.typeOf(value[0], depth-1)
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "boolean"
	}
	return "null"
}
