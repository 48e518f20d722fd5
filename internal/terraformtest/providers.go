// SPDX-License-Identifier: MPL-2.0

package terraformtest

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// hosts are the registries of Terraform and OpenTofu: each adds its own to a
// source without a host.
var hosts = []string{"registry.terraform.io", "registry.opentofu.org"}

// Override makes Terraform use these binaries; the keys are provider sources. It
// needs no init, and every plan warns about the override. A source may have a host,
// as in "registry.example.com/acme/thing". A missing binary is an error.
// https://developer.hashicorp.com/terraform/cli/config/config-file#development-overrides-for-provider-developers
func (w *Workspace) Override(binaries map[string]string) error {
	root, err := os.MkdirTemp(w.Home, "overrides-")
	if err != nil {
		return err
	}
	folders := map[string]string{} // by address
	for source, binary := range binaries {
		// An override names a folder. Terraform finds the binary there by its file name.
		folder := filepath.Join(root, filepath.FromSlash(source))
		if err := link(binary, filepath.Join(folder, "terraform-provider-"+path.Base(source))); err != nil {
			return err
		}
		for _, address := range addresses(source) {
			folders[address] = folder
		}
	}
	var config strings.Builder
	for _, address := range slices.Sorted(maps.Keys(folders)) {
		fmt.Fprintf(&config, "    %q = %q\n", address, folders[address])
	}
	return w.writeCLIConfig("provider_installation {\n  dev_overrides {\n" + config.String() + "  }\n}\n")
}

// Mirror makes Terraform install this binary on init, as version 0.0.1 of the
// source. A missing binary is an error.
// https://developer.hashicorp.com/terraform/cli/config/config-file#filesystem_mirror
func (w *Workspace) Mirror(source, binary string) error {
	const version = "0.0.1"
	root, err := os.MkdirTemp(w.Home, "mirror-")
	if err != nil {
		return err
	}
	for _, address := range addresses(source) {
		file := fmt.Sprintf("terraform-provider-%s_v%s", path.Base(source), version)
		if err := link(binary, filepath.Join(root, filepath.FromSlash(address), version, runtime.GOOS+"_"+runtime.GOARCH, file)); err != nil {
			return err
		}
	}
	return w.writeCLIConfig(fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", root))
}

// Registry makes Terraform install providers on init from this registry, instead
// of the two public ones. service is the base URL of its provider registry protocol.
// https://developer.hashicorp.com/terraform/internals/provider-registry-protocol
func (w *Workspace) Registry(service string) error {
	config := "provider_installation {\n  direct {}\n}\n"
	for _, host := range hosts {
		config += fmt.Sprintf("host %q {\n  services = {\n    \"providers.v1\" = %q\n  }\n}\n", host, service)
	}
	return w.writeCLIConfig(config)
}

func (w *Workspace) cliConfig() string { return filepath.Join(w.Home, "cli.tfrc") }

func (w *Workspace) writeCLIConfig(content string) error {
	return os.WriteFile(w.cliConfig(), []byte(content), 0o600)
}

// addresses returns the source with each host that Terraform or OpenTofu may add.
func addresses(source string) []string {
	if strings.Count(source, "/") == 2 {
		return []string{source}
	}
	var all []string
	for _, host := range hosts {
		all = append(all, host+"/"+source)
	}
	return all
}

// link creates a link to the binary, and the folders in its name. A missing binary
// is an error here, because Terraform would only say that it found no provider.
func link(binary, name string) error {
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("cannot find the provider's binary: %w", err)
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.Symlink(binary, name)
}
