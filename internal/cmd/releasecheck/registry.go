// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// tampering is how an attacker changes the release in the registry.
type tampering int32

const (
	none        tampering = iota
	withArchive           // the archives no longer match their checksums
	withSums              // the checksums match the changed archives, but not their signature
)

// registry serves a release over TLS, with the provider registry protocol.
// https://developer.hashicorp.com/terraform/internals/provider-registry-protocol
type registry struct {
	*httptest.Server

	release   *release
	key       *key
	tampering atomic.Int32
}

func startRegistry(rel *release, k *key) *registry {
	r := &registry{release: rel, key: k}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/providers/flameanalytics/flame/versions", r.versions)
	mux.HandleFunc("GET /v1/providers/flameanalytics/flame/"+version+"/download/{os}/{arch}", r.download)
	mux.HandleFunc("GET /files/{name}", r.file)
	r.Server = httptest.NewTLSServer(mux)
	return r
}

// service returns the URL of providers.v1, for service discovery.
func (r *registry) service() string { return r.URL + "/v1/providers/" }

// certificate returns the certificate that clients must trust.
func (r *registry) certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
}

func (r *registry) tamper(mode tampering) { r.tampering.Store(int32(mode)) }

func (r *registry) versions(w http.ResponseWriter, _ *http.Request) {
	type object = map[string]any
	var built []object
	for _, p := range platforms {
		built = append(built, object{"os": p.os, "arch": p.arch})
	}
	respond(w, object{"versions": []object{{"version": version, "protocols": r.release.protocols, "platforms": built}}})
}

func (r *registry) download(w http.ResponseWriter, req *http.Request) {
	p := platform{req.PathValue("os"), req.PathValue("arch")}
	name := p.file(".zip")
	sum, ok := r.release.sums[name]
	if !ok {
		http.NotFound(w, req)
		return
	}
	if tampering(r.tampering.Load()) == withSums {
		content, err := r.read(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		sum = sumOf(content)
	}
	sums := r.URL + "/files/" + assetName("SHA256SUMS")
	respond(w, map[string]any{
		"protocols":             r.release.protocols,
		"os":                    p.os,
		"arch":                  p.arch,
		"filename":              name,
		"download_url":          r.URL + "/files/" + name,
		"shasum":                sum,
		"shasums_url":           sums,
		"shasums_signature_url": sums + ".sig",
		"signing_keys": map[string]any{
			"gpg_public_keys": []map[string]string{{"key_id": r.key.id(), "ascii_armor": r.key.public}},
		},
	})
}

func (r *registry) file(w http.ResponseWriter, req *http.Request) {
	content, err := r.read(req.PathValue("name"))
	if err != nil {
		http.NotFound(w, req)
		return
	}
	_, _ = w.Write(content)
}

// read returns a file of the release, tampered with or not.
func (r *registry) read(name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(r.release.dist, filepath.Base(name)))
	if err != nil {
		return nil, err
	}
	mode := tampering(r.tampering.Load())
	switch {
	case mode == none:
	case strings.HasSuffix(name, ".zip"):
		// Add a comment of one byte, so the archive stays valid.
		content = append(content, 'x')
		content[len(content)-3] = 1
	case mode == withSums && name == assetName("SHA256SUMS"):
		for archive, sum := range r.release.sums {
			if !strings.HasSuffix(archive, ".zip") {
				continue
			}
			other, err := r.read(archive)
			if err != nil {
				return nil, err
			}
			content = []byte(strings.Replace(string(content), sum, sumOf(other), 1))
		}
	}
	return content, nil
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
