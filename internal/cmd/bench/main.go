// SPDX-License-Identifier: MPL-2.0

// Command bench measures how long real Terraform takes to apply, refresh and
// destroy many sessions against the fake API. It compares them with as many
// terraform_data resources: those need no provider, so nothing can be faster. It
// prints a table of medians, and writes them as JSON for the chart.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

func main() {
	b := bench{}
	var counts, latencies, out string
	flag.StringVar(&b.terraform, "terraform", terraformtest.DefaultCommand(), "the Terraform or OpenTofu `command`")
	flag.StringVar(&b.provider, "provider", "", "the provider's `binary`")
	flag.StringVar(&b.random, "random", "", "a `binary` of terraform-provider-random, to compare with random_id")
	flag.StringVar(&b.restful, "restful", "", "a `binary` of terraform-provider-restful, to compare with the same requests")
	flag.StringVar(&counts, "counts", "100,500,1000", "numbers of sessions, separated by commas")
	flag.StringVar(&latencies, "latencies", "0s,50ms", "latencies of the API, separated by commas")
	flag.BoolVar(&b.tls, "tls", false, "serve the API over TLS, with HTTP/2")
	flag.BoolVar(&b.remote, "remote", false, "also measure sessions whose state is in a remote backend")
	flag.IntVar(&b.blocks, "blocks", 1, "resource `blocks` to spread the instances over")
	flag.IntVar(&b.parallelism, "parallelism", 10, "Terraform's `limit` of concurrent operations")
	flag.IntVar(&b.repeats, "repeats", 3, "how many times to measure each row, if the budget allows; at least once")
	flag.DurationVar(&b.budget, "budget", 9*time.Minute, "start no repetition that would end after this time")
	flag.StringVar(&out, "json", "", "the JSON `file` for the medians")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, strings.Split(counts, ","), strings.Split(latencies, ","), out); err != nil {
		log.Fatal(err)
	}
}

type bench struct {
	terraform, provider, random, restful string
	repeats                              int
	budget                               time.Duration
	blocks, parallelism                  int
	tls, remote                          bool
}

// A Row holds the medians for one kind of resource, count and latency.
type Row struct {
	Resource  string        `json:"resource"`
	Count     int           `json:"count"`
	Latency   time.Duration `json:"latency_ns"`
	Remote    bool          `json:"remote"` // the state is in a remote backend, not in a file
	Repeats   int           `json:"repeats"`
	Apply     Measure       `json:"apply"`
	Refresh   Measure       `json:"refresh"`
	Destroy   Measure       `json:"destroy"`
	PeakBytes int64         `json:"peak_bytes"` // resident memory of the largest provider process

	provider string // path of the binary; "": none needed
	samples  [len(commands)][]sample
	took     time.Duration // of the last repetition
}

// A Measure holds the medians for one command.
type Measure struct {
	Seconds     float64 `json:"seconds"`
	Spread      float64 `json:"spread"`      // (slowest - fastest) / median
	CPUSeconds  float64 `json:"cpu_seconds"` // of Terraform and its providers
	Provider    float64 `json:"provider_cpu_seconds"`
	Requests    int     `json:"requests"`
	Connections int     `json:"connections"`
}

var commands = [...][]string{
	{"apply", "-auto-approve", "-input=false"},
	{"plan", "-refresh-only", "-input=false"},
	{"destroy", "-auto-approve", "-input=false"},
}

func (b *bench) run(ctx context.Context, counts, latencies []string, out string) error {
	var rows []Row
	started := time.Now()
	for _, c := range counts {
		count, err := strconv.Atoi(c)
		if err != nil {
			return err
		}
		group, err := b.rows(count, latencies)
		if err != nil {
			return err
		}
		// Measure in rounds, so that a slow phase of the machine affects all rows alike.
		for round := range b.repeats {
			for i := range group {
				if round > 0 && time.Since(started)+group[i].took > b.budget {
					continue
				}
				if err := b.measure(ctx, &group[i]); err != nil {
					return err
				}
			}
		}
		for i := range group {
			group[i].summarize()
		}
		rows = append(rows, group...)
	}
	if err := print(rows); err != nil {
		return err
	}
	if out == "" {
		return nil
	}
	content, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(content, '\n'), 0o644)
}

// rows returns the rows to measure for a count, the baseline first.
func (b *bench) rows(count int, latencies []string) ([]Row, error) {
	rows := []Row{{Resource: baseline, Count: count}}
	if b.random != "" {
		rows = append(rows, Row{Resource: "random_id", provider: b.random, Count: count})
	}
	for _, l := range latencies {
		latency, err := time.ParseDuration(l)
		if err != nil {
			return nil, err
		}
		if b.restful != "" {
			rows = append(rows, Row{Resource: "restful_operation", provider: b.restful, Count: count, Latency: latency})
		}
		session := Row{Resource: "flame_session", provider: b.provider, Count: count, Latency: latency}
		rows = append(rows, session)
		if b.remote {
			session.Remote = true
			rows = append(rows, session)
		}
	}
	return rows, nil
}

const baseline = "terraform_data"

// A kind of resource, and its configuration.
type kind struct {
	source              string // of the provider; "": none needed
	provider, arguments string
}

var kinds = map[string]kind{
	baseline:        {},
	"flame_session": {source: "flameanalytics/flame"},
	"random_id":     {source: "hashicorp/random", arguments: "byte_length = 8"},
	"restful_operation": {
		source: "magodo/restful",
		provider: `
variable "endpoint" {}
variable "user" {}
variable "password" {}

provider "restful" {
  base_url = var.endpoint
}
`,
		arguments: `
  path          = "/sessions"
  method        = "POST"
  body          = { user = var.user, password = var.password }
  delete_method = "DELETE"
  delete_header = { Authorization = "Token token=$(body.auth_token)" }
`,
	},
}

func (k kind) configuration(resource string, count, blocks int) string {
	var required string
	if k.source != "" {
		required = fmt.Sprintf("terraform {\n  required_providers {\n    %s = {\n      source = %q\n    }\n  }\n}\n", path.Base(k.source), k.source)
	}
	configuration := required + k.provider
	for i := range blocks {
		n := count*(i+1)/blocks - count*i/blocks
		configuration += fmt.Sprintf("\nresource %q \"this%d\" {\n  count = %d\n  %s\n}\n", resource, i, n, k.arguments)
	}
	return configuration
}

// measure applies, refreshes and destroys a row's resources once, in a new
// workspace.
func (b *bench) measure(ctx context.Context, row *Row) (err error) {
	started := time.Now()
	fake, err := flametest.Start(flametest.Config{Latency: row.Latency, TLS: b.tls})
	if err != nil {
		return err
	}
	defer fake.Close()
	w, err := terraformtest.New(b.terraform)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := b.prepare(w, fake, row); err != nil {
		return err
	}
	if row.Remote {
		stop, err := storeRemotely(ctx, w, kinds[row.Resource].source, row.provider)
		if err != nil {
			return err
		}
		defer stop()
	}
	for i, args := range commands {
		s, err := observe(ctx, w, fake, append(args, fmt.Sprintf("-parallelism=%d", b.parallelism)))
		if err != nil {
			return err
		}
		row.samples[i] = append(row.samples[i], s)
	}
	row.took = time.Since(started)
	if alive := len(fake.Live()); alive > 0 {
		return fmt.Errorf("destroy left %d sessions alive", alive)
	}
	return nil
}

func (r *Row) summarize() {
	r.Repeats = len(r.samples[0])
	for i, m := range []*Measure{&r.Apply, &r.Refresh, &r.Destroy} {
		*m = median(r.samples[i])
		for _, s := range r.samples[i] {
			r.PeakBytes = max(r.PeakBytes, s.peak)
		}
	}
}

// prepare writes the configuration, and points Terraform to the provider and the API.
func (b *bench) prepare(w *terraformtest.Workspace, fake *flametest.Server, row *Row) error {
	kind := kinds[row.Resource]
	if kind.source != "" {
		if err := w.Override(map[string]string{kind.source: row.provider}); err != nil {
			return err
		}
	}
	if b.tls {
		if err := w.Write("ca.pem", fake.CACertificate()); err != nil {
			return err
		}
		w.Setenv("SSL_CERT_FILE", filepath.Join(w.Dir, "ca.pem"))
	}
	for name, value := range map[string]string{"endpoint": fake.URL(), "user": flametest.User, "password": flametest.Password} {
		w.Setenv("FLAME_"+strings.ToUpper(name), value)
		w.Setenv("TF_VAR_"+name, value)
	}
	return w.Write("main.tf", kind.configuration(row.Resource, row.Count, b.blocks))
}

// observe runs Terraform and samples the provider's processes meanwhile.
func observe(ctx context.Context, w *terraformtest.Workspace, fake *flametest.Server, args []string) (sample, error) {
	requests, connections := len(fake.Journal()), fake.Connections()
	stop := watch(w.Home)
	started := time.Now()
	r, err := w.Run(ctx, args...)
	s := sample{took: time.Since(started), cpu: r.CPU}
	s.provider, s.peak = stop()
	s.requests, s.connections = len(fake.Journal())-requests, fake.Connections()-connections
	return s, err
}

func print(rows []Row) error {
	fmt.Printf("%s/%s, %d cores. All values are medians. ×: ratio to as many %s resources. ±: (slowest - fastest) / median.\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), baseline)
	var t strings.Builder
	fmt.Fprintln(&t, "resource\tcount\tlatency\tstate\tapply\t×\t±\trefresh\t×\t±\tdestroy\t×\t±\tCPU\tprovider CPU\tprovider peak\trequests\tconnections\trepeats\t")
	var base Row // comes before the rows to compare with it
	for _, r := range rows {
		if r.Resource == baseline {
			base = r
		}
		state := "file"
		if r.Remote {
			state = "remote"
		}
		fmt.Fprintf(&t, "%s\t%d\t%s\t%s\t", r.Resource, r.Count, r.Latency, state)
		for _, pair := range [][2]Measure{{r.Apply, base.Apply}, {r.Refresh, base.Refresh}, {r.Destroy, base.Destroy}} {
			spread := "unknown"
			if r.Repeats > 1 {
				spread = fmt.Sprintf("%.0f %%", 100*pair[0].Spread)
			}
			fmt.Fprintf(&t, "%.2f s\t%.2f\t%s\t", pair[0].Seconds, pair[0].Seconds/pair[1].Seconds, spread)
		}
		fmt.Fprintf(&t, "%.2f s\t%.2f s\t%.1f MB\t%d\t%d\t%d\t\n", r.Apply.CPUSeconds+r.Refresh.CPUSeconds+r.Destroy.CPUSeconds,
			r.Apply.Provider+r.Refresh.Provider+r.Destroy.Provider, float64(r.PeakBytes)/1e6,
			r.Apply.Requests+r.Refresh.Requests+r.Destroy.Requests, max(r.Apply.Connections, r.Refresh.Connections), r.Repeats)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := w.Write([]byte(t.String())); err != nil {
		return err
	}
	return w.Flush()
}
