// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const contentType = "application/json; charset=utf-8"

// response is an unsent HTTP response.
type response struct {
	status int
	reason string // HTTP/1 only; empty: the standard phrase
	header http.Header
	body   []byte
	cut    bool // send only half of the body
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
// http.ErrAbortHandler.
func (resp response) send(w http.ResponseWriter, r *http.Request) {
	if resp.header.Get("X-Request-Id") == "" {
		resp.header.Set("X-Request-Id", newToken())
	}
	length := len(resp.body)
	switch {
	case resp.status == http.StatusNoContent || resp.status == http.StatusNotModified:
		resp.body = nil // HTTP allows none
		resp.header.Del("Content-Type")
	case resp.cut:
		length = max(length, 1) // an empty body is then incomplete too
		resp.body = resp.body[:len(resp.body)/2]
		fallthrough
	default:
		resp.header.Set("Content-Length", strconv.Itoa(length))
	}
	if resp.reason != "" && r.ProtoMajor == 1 {
		resp.sendRaw(w)
		return
	}
	for name, values := range resp.header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.status)
	_, _ = w.Write(resp.body) // fails only if the client has left
	if resp.cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// sendRaw writes the response to the connection itself, because net/http has no
// other way to set the reason phrase. It closes the connection.
func (resp response) sendRaw(w http.ResponseWriter) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second)) // Server.Close does not close a hijacked connection
	resp.header.Set("Connection", "close")
	// The writes fail only if the client has left.
	_, _ = fmt.Fprintf(buffer, "HTTP/1.1 %03d %s\r\n", resp.status, resp.reason)
	_ = resp.header.Write(buffer)
	_, _ = buffer.WriteString("\r\n")
	_, _ = buffer.Write(resp.body)
	_ = buffer.Flush()
}
