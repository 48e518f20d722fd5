// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func sessionsOfOneUser(count int) string {
	return fmt.Sprintf("resource \"flame_session\" \"this\" {\n  count = %d\n}\n", count)
}

// A wrong password is one failed login, however many sessions would use it.
func TestWrongPasswordIsSentOnce(t *testing.T) {
	const count = 12
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionsOfOneUser(count))
	w.setenv(envPassword, "wrong-secret")
	r := w.fails(nil, "apply", "-auto-approve", "-input=false")
	saw(t, fake, 1, 0, 0)
	for text, want := range map[string]int{
		"Error: Could not open a Flame session":                                                       count,
		"Flame answered 401 (wrong credentials or no session)":                                        count,
		"was not sent because another request of this run had failed in the same way: Flame answered": count - 1,
		"Check the user and password":                                                                 count,
	} {
		if n := strings.Count(r.Text(), text); n != want {
			t.Errorf("%q is printed %d times, want %d", text, n, want)
		}
	}
	w.agrees()
}

// A pause that the old endpoint asks for does not hold back logins at the new one.
func TestPauseOfAnotherEndpoint(t *testing.T) {
	const count = 6
	old, current := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	w := newWorkspace(t, old, sessionsOfOneUser(count)+"resource \"flame_session\" \"new\" {\n  count = 12\n}\n")
	w.apply("-target=flame_session.this")
	old.Reset()
	old.Always(flametest.OpRevoke, &flametest.Fault{Status: 503, Header: map[string][]string{"Retry-After": {"600"}}})
	w.setenv(envEndpoint, current.URL())
	w.fails(nil, "apply", "-auto-approve", "-input=false").says(t, "Flame asked the provider to wait")
	saw(t, current, 12, 0, 1) // once, whether the second login has ended the first session
	if n := len(old.Live()); n != count {
		t.Errorf("%d of the old tokens are alive, want %d", n, count)
	}
}

// An API that answers 503 to too many requests looks like one that is down.
func TestUnavailableWhileOthersSucceed(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionsOfOneUser(2))
	w.write("provider.tf", providerBlock("max_retries = 0"))
	fake.Script(flametest.OpOpen, flametest.Fault{Reason: "OK"}, flametest.Fault{Status: 503})
	r := w.fails(nil, "apply", "-auto-approve", "-input=false")
	r.says(t, "503 (down for maintenance)", "requests_per_second")
	saw(t, fake, 2, 0, 1) // the refused login may have been carried out, and have ended the first session

	fake.Reset()
	fake.Always(flametest.OpOpen, &flametest.Fault{Status: 503})
	r = w.fails(nil, "apply", "-auto-approve", "-input=false", "-refresh=false")
	r.says(t, "503 (down for maintenance)")
	r.doesNotSay(t, "advice on the rate", "requests_per_second")
}
