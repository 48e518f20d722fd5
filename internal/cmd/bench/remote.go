// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// storeRemotely has Terraform keep its state in a backend in memory, over HTTP, until
// the caller calls stop. Init needs a provider that it can install.
// https://developer.hashicorp.com/terraform/language/backend/http
func storeRemotely(ctx context.Context, w *terraformtest.Workspace, source, binary string) (stop func(), err error) {
	server := httptest.NewServer(&backend{})
	configuration := fmt.Sprintf("terraform {\n  backend \"http\" {\n    address = %q\n  }\n}\n", server.URL)
	if err = w.Write("backend.tf", configuration); err == nil {
		err = w.Mirror(source, binary)
	}
	if err == nil {
		_, err = w.Run(ctx, "init", "-input=false")
	}
	if err != nil {
		server.Close()
		return nil, err
	}
	return server.Close, nil
}

type backend struct {
	mu    sync.Mutex
	state []byte
}

// ServeHTTP implements http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case r.Method != http.MethodGet:
		b.state = body
	case b.state == nil:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(b.state)
	}
}
