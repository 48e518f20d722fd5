// Command demo shows a session's life with real Terraform: it applies
// examples/demo, plans again, destroys, and tells what the API saw. Without
// FLAME_USER and FLAME_PASSWORD it does so against the fake API, with them
// against the real one. It exits with 1 when a session is left alive.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func main() {
	var d demo
	flag.StringVar(&d.terraform, "terraform", "terraform", "the Terraform or OpenTofu `command`")
	flag.StringVar(&d.provider, "provider", "", "the provider's `binary`")
	flag.StringVar(&d.example, "example", "examples/demo", "the `folder` with the configuration to apply")
	flag.StringVar(&d.scratch, "scratch", ".demo", "the `folder` to work in; it is removed at the end")
	flag.Parse()
	// Terraform gets the same interrupt from the terminal; the demo goes on to destroy.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

type demo struct {
	terraform, provider, example, scratch string

	dir  string // of the configuration
	env  []string
	fake *flametest.Server // nil: the real API

	endpoint flame.Endpoint // of the real API
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.scratch, err = filepath.Abs(d.scratch); err != nil {
		return err
	}
	// Two demos in one checkout must not meet, nor may one trip over another's remains.
	if err := os.MkdirAll(d.scratch, 0o755); err != nil {
		return err
	}
	if d.scratch, err = os.MkdirTemp(d.scratch, "run-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.scratch)) }()
	if err := d.prepare(); err != nil {
		return err
	}
	if d.fake != nil {
		defer d.fake.Close()
	}
	// What init says of a provider that comes from a folder would only distract.
	if out, err := d.exec(ctx, "init", "-input=false", "-no-color").CombinedOutput(); err != nil {
		return fmt.Errorf("%s init: %w\n%s", filepath.Base(d.terraform), err, out)
	}
	token, err := d.live(ctx)
	// Whatever happened, nothing may be left: also after an interrupt.
	if destroyErr := d.command(context.WithoutCancel(ctx), "Destroy: the token is revoked", "destroy", "-auto-approve", "-input=false"); destroyErr != nil {
		err = errors.Join(err, destroyErr)
	}
	return errors.Join(err, d.verdict(context.WithoutCancel(ctx), token))
}

// live applies the configuration and plans once more. It gives the token.
func (d *demo) live(ctx context.Context) (token string, err error) {
	if err := d.command(ctx, "Apply: a session is opened, and another resource uses its token", "apply", "-auto-approve", "-input=false"); err != nil {
		return "", err
	}
	if token, err = d.token(ctx); err != nil {
		return "", err
	}
	return token, d.command(ctx, "Plan again: the token is checked, and nothing is to do", "plan", "-input=false", "-detailed-exitcode")
}

// prepare makes the folder that Terraform works in: the configuration, and a
// mirror that has the provider where a registry would have it.
func (d *demo) prepare() error {
	if d.provider == "" {
		return errors.New("name the provider's binary with -provider; `make demo` does")
	}
	d.dir = filepath.Join(d.scratch, "configuration")
	if err := os.CopyFS(d.dir, os.DirFS(d.example)); err != nil {
		return err
	}
	mirror := filepath.Join(d.scratch, "mirror")
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		dir := filepath.Join(mirror, host, "flameanalytics", "flame", "0.0.1", runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		binary, err := filepath.Abs(d.provider)
		if err != nil {
			return err
		}
		if err := os.Symlink(binary, filepath.Join(dir, "terraform-provider-flame_v0.0.1")); err != nil {
			return err
		}
	}
	cliConfig := filepath.Join(d.scratch, "cli.tfrc")
	rc := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.ToSlash(mirror))
	if err := os.WriteFile(cliConfig, []byte(rc), 0o644); err != nil {
		return err
	}

	// Settings for other work must not reach this one, those for logging may.
	d.env = slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "TF_") && !strings.HasPrefix(s, "TF_LOG")
	})
	d.env = append(d.env, "TF_CLI_CONFIG_FILE="+cliConfig, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	if os.Getenv("FLAME_USER") != "" && os.Getenv("FLAME_PASSWORD") != "" {
		var err error
		if d.endpoint, err = flame.ParseEndpoint(cmp.Or(os.Getenv("FLAME_ENDPOINT"), flame.DefaultEndpoint)); err != nil {
			return fmt.Errorf("FLAME_ENDPOINT cannot be used: %w", err)
		}
		fmt.Println("FLAME_USER and FLAME_PASSWORD are set: this runs against the real API.")
		return nil
	}
	fmt.Println("This runs against a fake Flame API on this machine.\nTo run it against the real one, set FLAME_USER and FLAME_PASSWORD.")
	fake, err := flametest.Start(flametest.Config{Version: 1})
	if err != nil {
		return err
	}
	d.fake = fake
	d.env = append(d.env, "FLAME_ENDPOINT="+fake.URL(), "FLAME_USER="+flametest.User, "FLAME_PASSWORD="+flametest.Password)
	return nil
}

// command runs Terraform and shows what it says.
func (d *demo) command(ctx context.Context, what string, args ...string) error {
	fmt.Printf("\n== %s\n   %s %s\n\n", what, filepath.Base(d.terraform), strings.Join(args, " "))
	if out, err := os.Stdout.Stat(); err != nil || out.Mode()&os.ModeCharDevice == 0 {
		args = append(args, "-no-color")
	}
	cmd := d.exec(ctx, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(d.terraform), args[0], err)
	}
	return nil
}

func (d *demo) exec(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.terraform, args...)
	// An interrupt lets Terraform finish what is on the wire.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Dir, cmd.Env = d.dir, d.env
	return cmd
}

// token reads the session's token from the state, as another resource would.
func (d *demo) token(ctx context.Context) (string, error) {
	cmd := d.exec(ctx, "output", "-json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("reading the outputs: %w", err)
	}
	var outputs struct {
		AuthToken struct{ Value string } `json:"auth_token"`
	}
	if err := json.Unmarshal(out, &outputs); err != nil {
		return "", errors.New("reading the outputs: they are not JSON")
	}
	return outputs.AuthToken.Value, nil
}

// verdict tells what the API saw, and fails when a session is left alive.
func (d *demo) verdict(ctx context.Context, token string) error {
	fmt.Printf("\n== What the API saw\n\n")
	if d.fake != nil {
		for _, r := range d.fake.Journal() {
			session := ""
			if r.Token != "" {
				session = "  session " + flame.NewToken(r.Token).SessionID()
			}
			fmt.Printf("   %-18s answered %d%s\n", r.Op, r.Status, session)
		}
		alive := len(d.fake.Live())
		fmt.Printf("\n   sessions opened %d, revoked %d, left alive %d\n", d.fake.Opened(), d.fake.Revoked(), alive)
		if alive > 0 || d.fake.Opened() == 0 {
			return fmt.Errorf("%d sessions opened, %d left alive", d.fake.Opened(), alive)
		}
		return nil
	}
	if token == "" {
		return errors.New("no session was opened")
	}
	// The real API keeps no journal that can be read; the token itself tells.
	alive, err := flame.New(flame.Config{UserAgent: "terraform-provider-flame/demo"}).Check(ctx, d.endpoint, flame.NewToken(token))
	switch {
	case err != nil:
		return fmt.Errorf("whether session %s is still alive could not be learned: %w", flame.NewToken(token).SessionID(), err)
	case alive:
		return fmt.Errorf("session %s is still alive: its token works after destroy", flame.NewToken(token).SessionID())
	}
	fmt.Printf("   sessions opened 1, revoked 1, left alive 0: Flame no longer takes the token of session %s\n", flame.NewToken(token).SessionID())
	return nil
}
