// SPDX-License-Identifier: MPL-2.0

package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/probe"
)

// target is the account under test.
var target *account

// account is that of the environment, and what the suite has seen of it.
type account struct {
	*probe.Probe
	interrupted context.Context // ends with an interrupt: no case begins then
	ledger      string          // the file with the tokens of open sessions, for the sweeper of a later run
	swept       int             // sessions that a case has left alive

	mu     sync.Mutex
	logins int  // of the provider that brought a token
	wrong  bool // a wrong password was sent
}

// begin says what will be done, asks, and closes what an earlier run has left.
func begin(ctx context.Context, what string) (*account, error) {
	p, err := probe.Begin(ctx, probe.Options{
		What: what, Getenv: os.Getenv, Yes: *yes, Flags: "LIVE_FLAGS", Stdin: os.Stdin, Stdout: os.Stdout,
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(p.Endpoint().String() + "\n" + p.User()))
	a := &account{Probe: p, ledger: filepath.Join("..", "..", ".bin", "test", fmt.Sprintf("live-sessions-%x", sum[:8]))}
	if err := os.MkdirAll(filepath.Dir(a.ledger), 0o700); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(a.ledger)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, token := range strings.Fields(string(content)) {
		a.Adopt(flame.NewToken(token))
	}
	left, err := a.sweep(ctx)
	if left > 0 {
		fmt.Fprintf(os.Stdout, "An earlier run has left sessions, which are closed now: %d\n", left)
	}
	return a, err
}

// sweep closes the sessions that are open, and returns how many were.
func (a *account) sweep(ctx context.Context) (left int, err error) {
	for _, s := range a.Sessions() {
		verdict, _ := a.Check(ctx, s, "a token to sweep")
		if verdict != probe.Dead {
			left++
		}
	}
	if err = a.CloseAll(ctx); err != nil {
		return left, err
	}
	if err = os.Remove(a.ledger); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return left, err
}

// Opened returns the number of successful logins, of the suite and of the provider.
func (a *account) Opened() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Probe.Opened() + a.logins
}

// keep writes a token down, for the case that this process is killed.
func (a *account) keep(token flame.Token) error {
	a.Adopt(token)
	file, err := os.OpenFile(a.ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, token.Reveal())
	return errors.Join(err, file.Close())
}

// login opens a session as another tool would.
func (a *account) login(ctx context.Context) (token string, err error) {
	s, err := a.Login(ctx, "a login of another tool")
	if err != nil {
		return "", err
	}
	return s.Token().Reveal(), a.keep(s.Token())
}

// is returns an error unless the API says this of a token.
func (a *account) is(ctx context.Context, want probe.Verdict, token string) error {
	s := a.Adopt(flame.NewToken(token))
	switch got, err := a.Check(ctx, s, "a token of a case"); {
	case err != nil:
		return err
	case got == want:
		return nil
	case got == probe.Alive:
		return fmt.Errorf("the API accepts the token of session %s, which is to be dead", s.Token().SessionID())
	case got == probe.Dead:
		return fmt.Errorf("the API refuses the token of session %s, which is to be alive", s.Token().SessionID())
	}
	return fmt.Errorf("the API does not say whether the token of session %s is alive", s.Token().SessionID())
}

// watch returns what sends the provider's requests. It learns each token as it arrives, and
// lets one wrong password through at most.
func (a *account) watch(next http.RoundTripper) http.RoundTripper { return watcher{a, next} }

type watcher struct {
	account *account
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w watcher) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodPost {
		return w.next.RoundTrip(request)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	if err := w.account.admit(body); err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	response, err := w.next.RoundTrip(request)
	if err != nil || response.StatusCode/100 != 2 {
		return response, err
	}
	body, err = io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	var session struct {
		Token string `json:"auth_token"`
	}
	if json.Unmarshal(flame.FillMissingValues(body), &session) == nil && session.Token != "" {
		w.account.mu.Lock()
		defer w.account.mu.Unlock()
		w.account.logins++
		if err := w.account.keep(flame.NewToken(session.Token)); err != nil {
			return nil, err
		}
	}
	return response, nil
}

// admit returns an error if a login must not be sent.
func (a *account) admit(body []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var login struct{ Password string }
	if err := json.Unmarshal(body, &login); err != nil {
		return err
	}
	if login.Password == os.Getenv("FLAME_PASSWORD") {
		return nil
	}
	if a.wrong {
		return errors.New("a second wrong password is not sent")
	}
	a.wrong = true
	return nil
}
