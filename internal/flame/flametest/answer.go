package flametest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const contentType = "application/json; charset=utf-8"

// answer is an answer that is yet to be sent.
type answer struct {
	status int
	reason string // HTTP/1 only; empty: the usual one
	header http.Header
	body   []byte
	cut    bool // send half of the body only
}

// success is a JSON answer. A 204 drops the body when it is sent.
func success(status int, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

// refusal is a JSON answer that says what is wrong.
func refusal(status int, why string) answer {
	body, _ := json.Marshal(map[string]string{"error": why}) // strings always marshal
	return success(status, body)
}

// send writes the answer. It panics with http.ErrAbortHandler where the
// connection is to be lost.
func (a answer) send(w http.ResponseWriter, r *http.Request) {
	if a.header.Get("X-Request-Id") == "" {
		a.header.Set("X-Request-Id", newToken())
	}
	length := len(a.body)
	switch {
	case a.status == http.StatusNoContent || a.status == http.StatusNotModified:
		a.body = nil // these never have one: a cut one has nothing to lack
		a.header.Del("Content-Type")
	case a.cut:
		length = max(length, 1) // even an empty body then lacks something
		a.body = a.body[:len(a.body)/2]
		fallthrough
	default:
		a.header.Set("Content-Length", strconv.Itoa(length))
	}
	if a.reason != "" && r.ProtoMajor == 1 {
		a.sendRaw(w)
		return
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that has left is no concern of the fake
	if a.cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// sendRaw writes the answer to the bare connection, the only way to choose the
// reason phrase, and closes it.
func (a answer) sendRaw(w http.ResponseWriter) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second)) // Server.Close cannot end this one
	a.header.Set("Connection", "close")
	// Errors of the buffer stay with it, and mean that the client has left.
	_, _ = fmt.Fprintf(buffer, "HTTP/1.1 %03d %s\r\n", a.status, a.reason)
	_ = a.header.Write(buffer)
	_, _ = buffer.WriteString("\r\n")
	_, _ = buffer.Write(a.body)
	_ = buffer.Flush()
}
