// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sessionJSON returns the body of a successful login. Version 1 has the members
// and the layout of the vendor's sample, version 2 has two more members.
func (s *Server) sessionJSON(user, token string) []byte {
	sum := sha256.Sum256([]byte(user)) // a user always gets the same id
	session := struct {
		AuthToken string  `json:"auth_token"`
		ID        any     `json:"id"`
		Email     *string `json:"email"`
		FullName  string  `json:"full_name,omitempty"`
		PhotoURL  string  `json:"photo_url,omitempty"`
	}{AuthToken: token, ID: binary.BigEndian.Uint32(sum[:])>>1 + 1} // from 1 to 2^31
	if strings.Contains(user, "@") {
		session.Email = &user
	}
	if s.cfg.Version == 2 {
		id := uuid(sum)
		session.ID = id
		session.FullName = fullName(user)
		session.PhotoURL = "https://photos.example.com/" + id + ".png"
	}
	if s.cfg.SampleID {
		session.ID = nil
	}
	body, _ := json.MarshalIndent(session, "", " ") // these types always marshal
	if s.cfg.SampleID {
		body = bytes.Replace(body, []byte(`"id": null,`), []byte(`"id": ,`), 1)
	}
	return body
}

// uuid returns a UUID of version 8, the version for custom data (RFC 9562).
func uuid(sum [sha256.Size]byte) string {
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// fullName returns "Ada Lovelace" for "ada.lovelace@example.com".
func fullName(user string) string {
	local, _, _ := strings.Cut(user, "@")
	words := strings.FieldsFunc(local, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	for i, word := range words {
		first, size := utf8.DecodeRuneInString(word)
		words[i] = string(unicode.ToUpper(first)) + word[size:]
	}
	return strings.Join(words, " ")
}
