// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// A request says how long its body is: some servers refuse one that does not.
func TestContentLength(t *testing.T) {
	h := start(t, flametest.Config{RequireAccessToken: true}, flame.Config{})
	if err := h.call(t.Context(), flame.OpRevoke, h.open().Token.Reveal()); err != nil {
		t.Fatal(err)
	}
	for _, request := range h.Journal() {
		if got := request.Header.Get("Content-Length"); len(request.Body) > 0 && got != strconv.Itoa(len(request.Body)) {
			t.Errorf("%s: the length of %d bytes is %q", request.Op, len(request.Body), got)
		}
	}
}

// A refusal counts even if its body breaks off: a wrong password is not sent again.
func TestRefusalWithBrokenBody(t *testing.T) {
	for _, op := range allOperations {
		h := start(t, flametest.Config{}, flame.Config{MaxRetries: 3})
		h.Always(fakeOp[op], &flametest.Fault{Status: http.StatusUnauthorized, Body: `{"error":"no"}`, Cut: true})
		if err := h.call(t.Context(), op, "tok"); op == flame.OpOpen && !errors.Is(err, flame.ErrUnauthorized) {
			t.Errorf("got %v", err)
		}
		h.wantCount(op, 1)
	}
}

// What the user's record repeats of the password is not kept.
func TestPasswordIsNotKept(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	h.Script(flametest.OpOpen, flametest.Fault{Members: `"id":"{password}","email":"{password}","full_name":"it is {password}"`})
	if got := h.open(); got.UserID != "" || got.Email != "" || got.FullName != "" {
		t.Error("a member that repeats the password is kept")
	}
}

// Once an endpoint has shown that it wants the token in the body, a refusal is final.
func TestAccessTokenIsSentOnce(t *testing.T) {
	h := start(t, flametest.Config{RequireAccessToken: true}, flame.Config{})
	if err := h.call(t.Context(), flame.OpRevoke, h.open().Token.Reveal()); err != nil {
		t.Fatal(err)
	}
	token := h.open().Token.Reveal()
	h.Reset()
	h.Always(flametest.OpRevoke, &flametest.Fault{Status: http.StatusBadRequest})
	if err := h.call(t.Context(), flame.OpRevoke, token); !errors.Is(err, flame.ErrStatus) {
		t.Errorf("got %v", err)
	}
	h.wantCount(flame.OpRevoke, 1)
}

// An attempt with the token in the body may be lost too.
func TestLostRevocationWithBody(t *testing.T) {
	h := start(t, flametest.Config{RequireAccessToken: true}, flame.Config{})
	token := h.open().Token.Reveal()
	h.Script(flametest.OpRevoke, flametest.Fault{Status: http.StatusBadRequest}, flametest.Fault{CarryOut: true, Drop: true})
	if e := asError(t, h.call(t.Context(), flame.OpRevoke, token)); !e.MayBeDone {
		t.Errorf("it may have been carried out: %v", e)
	}
	h.Script(flametest.OpRevoke, flametest.Fault{Status: http.StatusForbidden})
	if e := asError(t, h.call(t.Context(), flame.OpRevoke, token)); e.MayBeDone {
		t.Errorf("it was refused: %v", e)
	}
}

func TestOrigin(t *testing.T) {
	for url, want := range map[string]string{
		"https://flame.example/api/v1":     "https://flame.example",
		"http://flame.example:8080/api/v1": "http://flame.example:8080",
	} {
		if got := parse(t, url).Origin(); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
