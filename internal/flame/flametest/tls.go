// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"time"
)

// configureTLS creates the certificates and sets the TLS versions.
func (s *Server) configureTLS() error {
	certificate, caPEM, err := newCertificate(time.Now())
	if err != nil {
		return err
	}
	s.caPEM = caPEM
	s.tls = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		MaxVersion:   s.cfg.TLSMaxVersion,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if highest := s.cfg.TLSMaxVersion; highest != 0 && highest < tls.VersionTLS12 {
		s.tls.MinVersion = tls.VersionTLS10
		s.tls.NextProtos = nil // HTTP/2 requires TLS 1.2
	}
	// The listener does TLS, so for net/http these connections are not encrypted.
	s.http.Protocols = new(http.Protocols)
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	return nil
}

// newCertificate returns a certificate for the loopback names and the CA that
// signed it. Both are valid from 12 hours before now to 12 hours after, in case
// the client's clock differs.
func newCertificate(now time.Time) (server tls.Certificate, caPEM string, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return server, "", err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Fake Flame CA"},
		NotBefore:             now.Add(-12 * time.Hour),
		NotAfter:              now.Add(12 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return server, "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return server, "", err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "Fake Flame"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return server, "", err
	}
	server = tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
	caPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}))
	return server, caPEM, nil
}
