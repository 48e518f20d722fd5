// SPDX-License-Identifier: MPL-2.0

package servertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What a login does to the user's earlier token, and DELETE to the user's others.
func TestRailsKinds(t *testing.T) {
	for kind, want := range map[string]struct {
		same        bool   // the second login gives the first token again
		afterLogin  [2]int // how the first and the second token are answered after both logins
		afterDelete [2]int // and after DELETE of the second
	}{
		"":            {false, [2]int{200, 200}, [2]int{200, 401}},
		"independent": {false, [2]int{200, 200}, [2]int{200, 401}},
		"shared":      {true, [2]int{200, 200}, [2]int{401, 401}},
		"superseding": {false, [2]int{401, 200}, [2]int{401, 401}},
		"sweeping":    {false, [2]int{200, 200}, [2]int{401, 401}},
	} {
		t.Run(kind, func(t *testing.T) {
			rails := StartRails(t, RailsConfig{Kind: kind})
			first, second, other := login(t, rails, "ada"), login(t, rails, "ada"), login(t, rails, "bob")
			if (first == second) != want.same || other == second {
				t.Errorf("the same token again: %v, and for another user: %v", first == second, other == second)
			}
			if got := [2]int{check(t, rails, first), check(t, rails, second)}; got != want.afterLogin {
				t.Errorf("after the logins: got %v, want %v", got, want.afterLogin)
			}
			if status, _ := ask(t, rails, http.MethodDelete, "/sessions", second, ""); status != http.StatusNoContent {
				t.Errorf("DELETE: got %d", status)
			}
			if got := [2]int{check(t, rails, first), check(t, rails, second)}; got != want.afterDelete {
				t.Errorf("after DELETE: got %v, want %v", got, want.afterDelete)
			}
			if status := check(t, rails, other); status != http.StatusOK {
				t.Errorf("another user's token: got %d", status)
			}
			if seen := rails.Requests(); len(seen) != 9 || seen.Count(http.MethodPost) != 3 {
				t.Errorf("the log has %v", seen)
			}
		})
	}
}

func login(t *testing.T, rails *Rails, user string) (token string) {
	t.Helper()
	status, body := ask(t, rails, http.MethodPost, "/sessions", "", fmt.Sprintf(`{"user":%q,"password":%q}`, user, RailsPassword))
	var session struct {
		Token string `json:"auth_token"`
	}
	if err := json.Unmarshal(body, &session); err != nil || status != http.StatusOK {
		t.Fatalf("login: got %d and %q", status, body)
	}
	return session.Token
}

func check(t *testing.T, rails *Rails, token string) (status int) {
	t.Helper()
	status, _ = ask(t, rails, http.MethodGet, "/organizations", token, "")
	return status
}

func ask(t *testing.T, rails *Rails, method, path, token, body string) (status int, answer []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, rails.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Token token="+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}
