// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

const contentType = "application/json; charset=utf-8"

// response is an unsent HTTP response.
type response struct {
	status int
	reason string // HTTP/1 only; empty: the standard phrase
	header http.Header
	body   []byte
	stray  string // HTTP/1 only; follows the response
	cut    bool   // send only half of the body

	resetCode http2.ErrCode // HTTP/2 only: of abort
}

// jsonResponse returns a response with a JSON body. send omits the body of a 204.
func jsonResponse(status int, body []byte) response {
	return response{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

// errorResponse returns a response with the error as JSON.
func errorResponse(status int, problem string) response {
	body, _ := json.Marshal(map[string]string{"error": problem}) // strings always marshal
	return jsonResponse(status, body)
}

// send writes the response. If the connection must be lost, it panics with
// http.ErrAbortHandler. If the connection must stay open, it waits for the client
// to close it, or for closed.
func (resp response) send(w http.ResponseWriter, r *http.Request, closed <-chan struct{}) {
	if resp.header.Get("X-Request-Id") == "" {
		resp.header.Set("X-Request-Id", newToken())
	}
	length := len(resp.body)
	switch {
	case resp.status/100 == 1 || resp.status == http.StatusNoContent || resp.status == http.StatusNotModified:
		resp.body = nil // HTTP allows none
		resp.header.Del("Content-Type")
	case resp.cut:
		length = max(length, 1) // an empty body is then incomplete too
		resp.body = resp.body[:len(resp.body)/2]
		fallthrough
	default:
		resp.header.Set("Content-Length", strconv.Itoa(length))
	}
	if r.ProtoMajor == 1 && (resp.reason != "" || resp.staysOpen()) {
		resp.sendRaw(w, closed)
		return
	}
	for name, values := range resp.header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.status)
	_, _ = w.Write(resp.body) // fails only if the client has left
	if resp.cut {
		_ = http.NewResponseController(w).Flush()
		abort(r, resp.resetCode)
	}
}

// staysOpen reports whether the connection must stay open after the response, for
// the client to find what follows.
func (resp response) staysOpen() bool {
	return resp.stray != "" || resp.status == http.StatusSwitchingProtocols
}

// sendRaw writes the response to the connection itself, because net/http has no
// other way to set the reason phrase, to switch protocols, or to send more than it
// announced. It closes the connection.
func (resp response) sendRaw(w http.ResponseWriter, closed <-chan struct{}) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second)) // Server.Close does not close a hijacked connection
	switch {
	case resp.status == http.StatusSwitchingProtocols:
		resp.header.Set("Connection", "Upgrade")
		resp.header.Set("Upgrade", "something")
	case !resp.staysOpen():
		resp.header.Set("Connection", "close")
	}
	setDefault(&resp.reason, http.StatusText(resp.status))
	// The writes fail only if the client has left.
	_, _ = fmt.Fprintf(buffer, "HTTP/1.1 %03d %s\r\n", resp.status, resp.reason)
	_ = resp.header.Write(buffer)
	_, _ = buffer.WriteString("\r\n")
	_, _ = buffer.Write(resp.body)
	_, _ = buffer.WriteString(resp.stray)
	_ = buffer.Flush()
	if resp.staysOpen() {
		awaitHangUp(conn, closed)
	}
}

// awaitHangUp waits for the client to close the connection, or for closed.
func awaitHangUp(conn net.Conn, closed <-chan struct{}) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = io.Copy(io.Discard, conn)
	}()
	select {
	case <-left:
	case <-closed:
		_ = conn.Close()
		<-left
	}
}
