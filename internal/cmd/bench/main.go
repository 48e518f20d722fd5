// Command bench measures what a user waits for: real Terraform applying,
// refreshing and destroying many sessions against the fake API, beside as many
// terraform_data resources, which take no provider at all and so are the floor.
// It prints a table of medians, and writes them as JSON for the chart.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func main() {
	b := bench{}
	var counts, latencies, out string
	flag.StringVar(&b.terraform, "terraform", "terraform", "the Terraform or OpenTofu `command`")
	flag.StringVar(&b.provider, "provider", "", "the provider's `binary`")
	flag.StringVar(&counts, "counts", "100,500,1000", "how many sessions")
	flag.StringVar(&latencies, "latencies", "0s,50ms", "how long the API takes to answer")
	flag.IntVar(&b.repeats, "repeats", 3, "how often each is measured")
	flag.StringVar(&out, "json", "", "the `file` to write the medians to")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, strings.Split(counts, ","), strings.Split(latencies, ","), out); err != nil {
		log.Fatal(err)
	}
}

type bench struct {
	terraform, provider string
	repeats             int
}

// A Row is the medians of one kind of resource, number and latency.
type Row struct {
	Resource  string        `json:"resource"`
	Count     int           `json:"count"`
	Latency   time.Duration `json:"latency_ns"`
	Apply     Measure       `json:"apply"`
	Refresh   Measure       `json:"refresh"`
	Destroy   Measure       `json:"destroy"`
	PeakBytes int64         `json:"peak_bytes"` // resident, of the largest provider process
}

// A Measure is the median of one command.
type Measure struct {
	Seconds     float64 `json:"seconds"`
	Spread      float64 `json:"spread"`      // (slowest - fastest) / median: how noisy the machine was
	CPUSeconds  float64 `json:"cpu_seconds"` // of the provider's processes
	Requests    int     `json:"requests"`
	Connections int     `json:"connections"`
}

func (b *bench) run(ctx context.Context, counts, latencies []string, out string) error {
	var rows []Row
	floor := map[int]Row{}
	for _, c := range counts {
		count, err := strconv.Atoi(c)
		if err != nil {
			return err
		}
		row, err := b.measure(ctx, "terraform_data", count, 0)
		if err != nil {
			return err
		}
		floor[count] = row
		rows = append(rows, row)
		for _, l := range latencies {
			latency, err := time.ParseDuration(l)
			if err != nil {
				return err
			}
			if row, err = b.measure(ctx, "flame_session", count, latency); err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	if err := print(rows, floor); err != nil {
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

// measure applies, refreshes and destroys count resources, as often as is to
// be repeated, each time in a new folder.
func (b *bench) measure(ctx context.Context, resource string, count int, latency time.Duration) (Row, error) {
	row := Row{Resource: resource, Count: count, Latency: latency}
	samples := map[*Measure][]sample{}
	for range b.repeats {
		w, err := b.prepare(resource, count, latency)
		if err != nil {
			return row, err
		}
		for _, step := range []struct {
			measure *Measure
			args    []string
		}{
			{&row.Apply, []string{"apply", "-auto-approve", "-input=false"}},
			{&row.Refresh, []string{"plan", "-refresh-only", "-input=false"}},
			{&row.Destroy, []string{"destroy", "-auto-approve", "-input=false"}},
		} {
			s, err := w.command(ctx, step.args...)
			if err != nil {
				w.close()
				return row, err
			}
			samples[step.measure] = append(samples[step.measure], s)
			row.PeakBytes = max(row.PeakBytes, s.peak)
		}
		if alive := len(w.fake.Live()); alive > 0 {
			err = fmt.Errorf("%d sessions are left alive", alive)
		}
		if w.close(); err != nil {
			return row, err
		}
	}
	for measure, s := range samples {
		*measure = median(s)
	}
	return row, nil
}

// workspace is a folder with a configuration, and a fake API.
type workspace struct {
	bench *bench
	dir   string
	env   []string
	fake  *flametest.Server
}

func (b *bench) prepare(resource string, count int, latency time.Duration) (*workspace, error) {
	dir, err := os.MkdirTemp("", "flame-bench-")
	if err != nil {
		return nil, err
	}
	fake, err := flametest.Start(flametest.Config{Latency: latency})
	if err != nil {
		return nil, err
	}
	w := &workspace{bench: b, dir: dir, fake: fake}
	provider, err := filepath.Abs(b.provider)
	if err != nil {
		return nil, err
	}
	cliConfig := filepath.Join(dir, "cli.tfrc")
	for name, content := range map[string]string{
		cliConfig: fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"registry.terraform.io/flameanalytics/flame\" = %[1]q\n    \"registry.opentofu.org/flameanalytics/flame\" = %[1]q\n  }\n  direct {}\n}\n", filepath.Dir(provider)),
		filepath.Join(dir, "main.tf"): fmt.Sprintf("terraform {\n  required_providers {\n    flame = {\n      source = \"flameanalytics/flame\"\n    }\n  }\n}\n\nresource %q \"this\" {\n  count = %d\n}\n",
			resource, count),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=" + cliConfig,
		"FLAME_ENDPOINT=" + fake.URL(), "FLAME_USER=" + flametest.User, "FLAME_PASSWORD=" + flametest.Password,
	}
	return w, nil
}

func (w *workspace) close() {
	w.fake.Close()
	if err := os.RemoveAll(w.dir); err != nil {
		log.Print(err)
	}
}

// command runs Terraform and watches the provider's processes meanwhile.
func (w *workspace) command(ctx context.Context, args ...string) (sample, error) {
	requests, connections := len(w.fake.Journal()), w.fake.Connections()
	cmd := exec.CommandContext(ctx, w.bench.terraform, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	watched := watch(filepath.Base(w.bench.provider), w.dir)
	started := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{took: time.Since(started)}
	s.cpu, s.peak = watched()
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	s.requests, s.connections = len(w.fake.Journal())-requests, w.fake.Connections()-connections
	return s, nil
}

func print(rows []Row, floor map[int]Row) error {
	fmt.Printf("%s/%s, %d cores. Medians; × is the ratio to as many terraform_data; ± is (slowest - fastest) / median.\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	var t strings.Builder
	fmt.Fprintln(&t, "resource\tcount\tlatency\tapply\t×\t±\trefresh\t×\t±\tdestroy\t×\t±\tprovider CPU\tpeak\trequests\tconnections\t")
	for _, r := range rows {
		fmt.Fprintf(&t, "%s\t%d\t%s\t", r.Resource, r.Count, r.Latency)
		base := floor[r.Count]
		for _, pair := range [][2]Measure{{r.Apply, base.Apply}, {r.Refresh, base.Refresh}, {r.Destroy, base.Destroy}} {
			fmt.Fprintf(&t, "%.2f s\t%.2f\t%.0f %%\t", pair[0].Seconds, pair[0].Seconds/pair[1].Seconds, 100*pair[0].Spread)
		}
		fmt.Fprintf(&t, "%.2f s\t%.1f MB\t%d\t%d\t\n", r.Apply.CPUSeconds+r.Refresh.CPUSeconds+r.Destroy.CPUSeconds, float64(r.PeakBytes)/1e6,
			r.Apply.Requests+r.Refresh.Requests+r.Destroy.Requests, max(r.Apply.Connections, r.Refresh.Connections, r.Destroy.Connections))
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := w.Write([]byte(t.String())); err != nil {
		return err
	}
	return w.Flush()
}
