// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// With which user and password a session is opened, for every choice of places where
// they are set: the session's own block first, then the provider's, then the
// environment, and each on its own. Sets the environment, so it is not parallel to other
// tests.
func TestCredentialSources(t *testing.T) {
	const own, provider, environment, everywhere = 1, 2, 4, 7
	places := []string{"own", "provider", "environment"}
	// first returns the value from the first of the places in a set; "" if it is empty.
	first := func(what string, set int) string {
		for i, place := range places {
			if set&(1<<i) != 0 {
				return what + " of " + place
			}
		}
		return ""
	}
	users := map[string]string{}
	for _, place := range places {
		users["user of "+place] = "" // a login with any password of the test is refused
	}
	fake := newFake(t, flametest.Config{Users: users})
	for userIn := range everywhere + 1 {
		for _, passwordIn := range []int{userIn, everywhere ^ userIn} { // in the same places, and in the others
			block, arguments := map[string]tftypes.Value{}, map[string]tftypes.Value{
				"endpoint": stringValue(fake.URL()), "max_retries": tftypes.NewValue(tftypes.Number, 0),
			}
			for what, set := range map[string]int{"user": userIn, "password": passwordIn} {
				if set&own != 0 {
					block[what] = stringValue(what + " of own")
				}
				if set&provider != 0 {
					arguments[what] = stringValue(what + " of provider")
				}
				value := ""
				if set&environment != 0 {
					value = what + " of environment"
				}
				t.Setenv("FLAME_"+strings.ToUpper(what), value)
			}
			user, password := first("user", userIn), first("password", passwordIn)
			for _, kind := range []string{"managed", "ephemeral"} {
				fake.Reset()
				text := openedWith(t, kind, arguments, block)
				var want []map[string]string
				if user != "" && password != "" {
					want = append(want, map[string]string{"user": user, "password": password})
				}
				if got := loginsOf(t, fake); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s, user in %03b, password in %03b: the logins are %v, want %v", kind, userIn, passwordIn, got, want)
				}
				for what, value := range map[string]string{"user": user, "password": password} {
					if says := strings.Contains(text, "No "+what+" for this Flame session"); says != (value == "") {
						t.Errorf("%s, user in %03b, password in %03b: the missing %s is told: %t, in %s", kind, userIn, passwordIn, what, says, text)
					}
				}
			}
		}
	}
}

// openedWith tries to open a session, and returns what the user reads of the plan and of
// the apply.
func openedWith(t *testing.T, kind string, arguments, block map[string]tftypes.Value) string {
	t.Helper()
	run := mustRun(t, arguments)
	if kind == "ephemeral" {
		opened, err := run.openWith(t.Context(), block)
		if err != nil {
			t.Fatal(err)
		}
		return diagnosticsText(opened.diags)
	}
	for _, d := range planWith(t, run, heldSession{value: nothing(t, run)}, block).Diagnostics {
		if user := strings.HasPrefix(d.Summary, "No user"); user != (d.Attribute.String() == `AttributeName("user")`) {
			t.Errorf("%q points at %s", d.Summary, d.Attribute)
		}
	}
	config := sessionValue(t, run, block)
	created, err := run.change(t.Context(), heldSession{value: nothing(t, run)}, config, config)
	if err != nil {
		return err.Error() // the plan
	}
	return diagnosticsText(created.diags)
}

// loginsOf returns the bodies of the logins that the fake received.
func loginsOf(t *testing.T, fake *flametest.Server) (logins []map[string]string) {
	t.Helper()
	for _, request := range fake.Journal() {
		var sent map[string]string
		if request.Op != flametest.OpOpen {
			t.Errorf("%s was sent", request.Op)
		} else if err := json.Unmarshal(request.Body, &sent); err != nil {
			t.Error(err)
		}
		logins = append(logins, sent)
	}
	return logins
}

// Every request to the provider's own endpoint goes to the one that the provider block
// names, then to that of the environment, then to Flame's. Sets the environment, so it is
// not parallel to other tests.
func TestEndpointSources(t *testing.T) {
	environment, block := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	for name, do := range map[string]func(run *protocolRun) error{
		"create": func(run *protocolRun) error {
			_, err := run.create(t.Context())
			return err
		},
		"ephemeral open": func(run *protocolRun) error {
			_, err := run.open(t.Context())
			return err
		},
		"import": func(run *protocolRun) error {
			_, err := run.importFrom(t.Context(), "env:A_TOKEN")
			return err
		},
		"action": func(run *protocolRun) error {
			_, _, err := run.invoke(t.Context(), "ULzr7GuYA6iyo9EyiFrf")
			return err
		},
	} {
		t.Setenv("A_TOKEN", "ULzr7GuYA6iyo9EyiFrf")
		for _, test := range []struct {
			environment, block string
			asks               *flametest.Server // nil: Flame
		}{
			{environment.URL(), "", environment},
			{environment.URL(), block.URL(), block},
			{"", block.URL(), block},
			{"", "", nil},
		} {
			t.Setenv(envEndpoint, test.environment)
			environment.Reset()
			block.Reset()
			arguments := map[string]tftypes.Value{
				"user": stringValue(flametest.User), "password": stringValue(flametest.Password), "max_retries": tftypes.NewValue(tftypes.Number, 0),
			}
			if test.block != "" {
				arguments["endpoint"] = stringValue(test.block)
			}
			p, dialed := newTestProvider(time.Now, 0), []string{}
			if test.asks == nil {
				p.dialContext = func(_ context.Context, _, address string) (net.Conn, error) {
					dialed = append(dialed, address)
					return nil, errors.New("nobody is asked in a test")
				}
			}
			run, err := configureProvider(t.Context(), p, arguments)
			if err == nil {
				err = do(run)
			}
			if err != nil {
				t.Error(err)
			}
			if test.asks == nil && !slices.Equal(dialed, []string{"pull.flameanalytics.com:443"}) {
				t.Errorf("%s: the connections go to %v", name, dialed)
			}
			for _, fake := range []*flametest.Server{environment, block} {
				if got := len(fake.Journal()) > 0; got != (fake == test.asks) {
					t.Errorf("%s, environment %q, block %q: %s is asked: %t", name, test.environment, test.block, fake.URL(), got)
				}
			}
		}
	}
}
