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

// tampering is what somebody who has got hold of the registry does with it.
type tampering int32

const (
	none        tampering = iota
	withArchive           // other archives than those that the checksums are of
	withSums              // the checksums changed to fit these
)

// registry serves a release by the provider registry protocol, over TLS.
// https://developer.hashicorp.com/terraform/internals/provider-registry-protocol
type registry struct {
	*httptest.Server

	release  *release
	key      *key
	tampered atomic.Int32
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

// service is the address that discovery would give for providers.v1.
func (r *registry) service() string { return r.URL + "/v1/providers/" }

// certificate is what clients have to trust.
func (r *registry) certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
}

func (r *registry) tamper(how tampering) { r.tampered.Store(int32(how)) }

func (r *registry) versions(w http.ResponseWriter, _ *http.Request) {
	type object = map[string]any
	var built []object
	for _, p := range platforms {
		built = append(built, object{"os": p.os, "arch": p.arch})
	}
	answer(w, object{"versions": []object{{"version": version, "protocols": r.release.protocols, "platforms": built}}})
}

func (r *registry) download(w http.ResponseWriter, req *http.Request) {
	p := platform{req.PathValue("os"), req.PathValue("arch")}
	name := p.file(".zip")
	sum, ok := r.release.sums[name]
	if !ok {
		http.NotFound(w, req)
		return
	}
	if tampering(r.tampered.Load()) == withSums {
		content, err := r.read(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		sum = sumOf(content)
	}
	sums := r.URL + "/files/" + assetName("SHA256SUMS")
	answer(w, map[string]any{
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

// read gives a file of the release, as it is or as it was tampered with.
func (r *registry) read(name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(r.release.dist, filepath.Base(name)))
	if err != nil {
		return nil, err
	}
	how := tampering(r.tampered.Load())
	switch {
	case how == none:
	case strings.HasSuffix(name, ".zip"):
		// Still an archive that can be unpacked: a comment, one byte long.
		content = append(content, 'x')
		content[len(content)-3] = 1
	case how == withSums && name == assetName("SHA256SUMS"):
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

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
