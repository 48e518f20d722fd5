package flametest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const contentType = "application/json; charset=utf-8"

// response is an answer that is yet to be sent.
type response struct {
	status int
	reason string // HTTP/1 only; empty: the usual one
	header http.Header
	body   []byte
	cut    bool // send half of the body only
}

// jsonResponse is a JSON answer. A 204 drops the body when it is sent.
func jsonResponse(status int, body []byte) response {
	return response{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

// errorResponse is a JSON answer that says what is wrong.
func errorResponse(status int, why string) response {
	body, _ := json.Marshal(map[string]string{"error": why}) // strings always marshal
	return jsonResponse(status, body)
}

// send writes the answer. It panics with http.ErrAbortHandler where the
// connection is to be lost.
func (resp response) send(w http.ResponseWriter, r *http.Request) {
	if resp.header.Get("X-Request-Id") == "" {
		resp.header.Set("X-Request-Id", newToken())
	}
	length := len(resp.body)
	switch {
	case resp.status == http.StatusNoContent || resp.status == http.StatusNotModified:
		resp.body = nil // these never have one: a cut one has nothing to lack
		resp.header.Del("Content-Type")
	case resp.cut:
		length = max(length, 1) // even an empty body then lacks something
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
	_, _ = w.Write(resp.body) // a client that has left is no concern of the fake
	if resp.cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// sendRaw writes the answer to the bare connection, the only way to choose the
// reason phrase, and closes it.
func (resp response) sendRaw(w http.ResponseWriter) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second)) // Server.Close cannot end this one
	resp.header.Set("Connection", "close")
	// Errors of the buffer stay with it, and mean that the client has left.
	_, _ = fmt.Fprintf(buffer, "HTTP/1.1 %03d %s\r\n", resp.status, resp.reason)
	_ = resp.header.Write(buffer)
	_, _ = buffer.WriteString("\r\n")
	_, _ = buffer.Write(resp.body)
	_ = buffer.Flush()
}
