// Command terraform-provider-flame serves the Flame provider to Terraform and
// OpenTofu.
package main

import (
	"flag"
	"log"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"

	"github.com/flameanalytics/terraform-provider-flame/internal/provider"
)

// version is set by the linker when a release is built.
var version = "dev"

func main() {
	debugged := flag.Bool("debug", false, "wait for a debugger and print how to have Terraform use this process")
	flag.Parse()
	logged := wantsLog(os.Environ())
	if !logged {
		if err := quicken(); err != nil {
			log.Fatal(err)
		}
	}
	server, finish, err := provider.New(version, logged)
	if err != nil {
		log.Fatal(err)
	}
	var options []tf6server.ServeOpt
	if *debugged {
		options = append(options, tf6server.WithManagedDebug())
	} else {
		go endWith(os.Getppid(), finish)
	}
	err = tf6server.Serve(provider.Address, func() tfprotov6.ProviderServer { return server }, options...)
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

// wantsLog reports whether anybody has asked for a log.
func wantsLog(environ []string) bool {
	return slices.ContainsFunc(environ, func(s string) bool { return strings.HasPrefix(s, "TF_LOG") })
}

// quicken sets what makes a run fast of which nobody wants a log: with one, the
// framework keeps more of each call than the memory limit here leaves room for.
func quicken() error {
	// Garbage is collected less often, as long as that takes no memory that counts.
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(memoryLimit(0))
		go limitMemory()
	}
	// The SDK writes several lines for each call, and Terraform parses them.
	return os.Setenv("TF_LOG_SDK", "OFF")
}

// limitMemory keeps the limit above what is alive. One that is not would have the
// collector run all the time.
func limitMemory() {
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for range time.Tick(time.Second) {
		metrics.Read(alive)
		debug.SetMemoryLimit(memoryLimit(alive[0].Value.Uint64()))
	}
}

// memoryLimit is 24 MB, of which the runtime takes ten, up to some 5,000 sessions,
// and then leaves room for as much garbage as there is alive.
func memoryLimit(alive uint64) int64 {
	return max(24<<20, 10<<20+2*int64(alive)) //nolint:gosec // no machine has so much memory
}
