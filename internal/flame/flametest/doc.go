// Package flametest is a fake of the Flame Analytics sessions API, for tests
// and demonstrations. It is to package flame what net/http/httptest is to
// net/http.
package flametest
