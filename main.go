// Command terraform-provider-flame serves the Flame provider to Terraform and
// OpenTofu.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/flameanalytics/terraform-provider-flame/internal/provider"
)

// version is set by the linker when a release is built.
var version = "dev"

func main() {
	debugged := flag.Bool("debug", false, "wait for a debugger and print how to have Terraform use this process")
	flag.Parse()
	if err := quiet(os.Environ(), os.Setenv); err != nil {
		log.Fatal(err)
	}
	serve, finish := provider.New(version)
	if !*debugged {
		go endWith(os.Getppid(), finish)
	}
	err := providerserver.Serve(context.Background(), serve, providerserver.ServeOpts{
		Address: provider.Address,
		Debug:   *debugged,
	})
	finish()
	if err != nil {
		log.Fatal(err)
	}
}

// endWith ends the provider when the Terraform that started it has ended without
// telling it to, as when it was killed. Nobody could take what the requests under
// way still bring.
func endWith(parent int, finish func()) {
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			finish()
			os.Exit(1)
		}
	}
}

// quiet switches the SDK's log off where nobody has asked for a log: the SDK
// writes several lines for each call, and Terraform parses them.
func quiet(environ []string, setenv func(name, value string) error) error {
	if slices.ContainsFunc(environ, func(s string) bool { return strings.HasPrefix(s, "TF_LOG") }) {
		return nil
	}
	return setenv("TF_LOG_SDK", "OFF")
}
