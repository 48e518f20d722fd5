// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// resetListener accepts each connection as a resetConn.
type resetListener struct{ net.Listener }

// Accept implements net.Listener.
func (l resetListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &resetConn{Conn: conn}, nil
}

// resetConn is an HTTP/2 connection that resets streams with a given code. On its
// own, net/http resets those of aborted requests with INTERNAL_ERROR.
type resetConn struct {
	net.Conn
	code atomic.Uint32 // of the next reset; 0: leave it as it is

	head   [9]byte // of the frame that is being written (RFC 9113, 4.1): 3 bytes of length, type, flags, stream
	offset int     // in that frame
}

// Write replaces the code in each RST_STREAM frame. net/http never calls it twice at
// the same time.
func (c *resetConn) Write(b []byte) (int, error) {
	var code [4]byte
	binary.BigEndian.PutUint32(code[:], c.code.Load())
	written := bytes.Clone(b)
	for i := range written {
		switch {
		case c.offset < len(c.head):
			c.head[c.offset] = written[i]
		case http2.FrameType(c.head[3]) == http2.FrameRSTStream && code != [4]byte{}:
			written[i] = code[c.offset-len(c.head)]
		}
		c.offset++
		length := int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
		if c.offset == len(c.head)+length {
			c.offset = 0
		}
	}
	return c.Conn.Write(written)
}

// abort closes an HTTP/1 connection, or resets an HTTP/2 stream with a code.
func abort(r *http.Request, code http2.ErrCode) {
	if conn, ok := r.Context().Value(connectionKey{}).(connection); ok && conn.reset != nil && r.ProtoMajor == 2 {
		conn.reset.code.Store(uint32(code))
	}
	panic(http.ErrAbortHandler)
}
