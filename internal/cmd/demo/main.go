// Command demo shows a session's life with real Terraform: it applies
// examples/demo, plans again, destroys, and tells what the API saw. Without
// FLAME_USER and FLAME_PASSWORD it does so against the fake API, with them
// against the real one. It exits with 1 when a session is left alive.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

func main() {
	var d demo
	var command, binary, example string
	flag.StringVar(&command, "terraform", terraformtest.DefaultCommand(), "the Terraform or OpenTofu `command`")
	flag.StringVar(&binary, "provider", "", "the provider's `binary`")
	flag.StringVar(&example, "example", "examples/demo", "the `folder` with the configuration to apply")
	flag.Parse()
	// After an interrupt, the demo goes on to destroy.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := d.run(ctx, command, binary, example); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

type demo struct {
	terraform *terraformtest.Workspace
	fake      *flametest.Server // nil: the real API
	endpoint  flame.Endpoint    // of the real API
}

func (d *demo) run(ctx context.Context, command, binary, example string) (err error) {
	if binary == "" {
		return errors.New("name the provider's binary with -provider; `make demo` does")
	}
	if d.terraform, err = terraformtest.New(command); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.terraform.Close()) }()
	if err := d.terraform.Mirror("flameanalytics/flame", binary); err != nil {
		return err
	}
	if err := os.CopyFS(d.terraform.Dir, os.DirFS(example)); err != nil {
		return err
	}
	if err := d.chooseAPI(); err != nil {
		return err
	}
	if d.fake != nil {
		defer d.fake.Close()
	}
	// The output of init is about the mirror. It would only distract.
	if _, err := d.terraform.Run(ctx, "init", "-input=false"); err != nil {
		return err
	}
	token, err := d.live(ctx)
	// Whatever happened, nothing may be left: also after an interrupt.
	if destroyErr := d.show(context.WithoutCancel(ctx), "Destroy: the token is revoked", "destroy", "-auto-approve", "-input=false"); destroyErr != nil {
		err = errors.Join(err, destroyErr)
	}
	return errors.Join(err, d.verdict(context.WithoutCancel(ctx), token))
}

// chooseAPI sets the environment for the real API if the user has credentials
// for it, and otherwise starts a fake one.
func (d *demo) chooseAPI() (err error) {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if passedOn.MatchString(name) {
			d.terraform.Setenv(name, value)
		}
	}
	if os.Getenv("FLAME_USER") != "" && os.Getenv("FLAME_PASSWORD") != "" {
		if d.endpoint, err = flame.ParseEndpoint(cmp.Or(os.Getenv("FLAME_ENDPOINT"), flame.DefaultEndpoint)); err != nil {
			return fmt.Errorf("FLAME_ENDPOINT cannot be used: %w", err)
		}
		fmt.Println("FLAME_USER and FLAME_PASSWORD are set: this runs against the real API.")
		return nil
	}
	fmt.Println("This runs against a fake Flame API on this machine.\nTo run it against the real one, set FLAME_USER and FLAME_PASSWORD.")
	if d.fake, err = flametest.Start(flametest.Config{Version: 1}); err != nil {
		return err
	}
	d.terraform.Setenv("FLAME_ENDPOINT", d.fake.URL())
	d.terraform.Setenv("FLAME_USER", flametest.User)
	d.terraform.Setenv("FLAME_PASSWORD", flametest.Password)
	return nil
}

// passedOn matches the user's variables that reach Terraform: credentials, the
// way to the real API, and logging.
var passedOn = regexp.MustCompile(`^(FLAME_(ENDPOINT|USER|PASSWORD)|(?i:HTTPS?_PROXY|NO_PROXY)|SSL_CERT_(FILE|DIR)|TF_LOG.*)$`)

// live applies the configuration, plans once more, and returns the token.
func (d *demo) live(ctx context.Context) (token string, err error) {
	if err := d.show(ctx, "Apply: a session is opened, and another resource uses its token", "apply", "-auto-approve", "-input=false"); err != nil {
		return "", err
	}
	if token, err = d.token(ctx); err != nil {
		return "", err
	}
	return token, d.show(ctx, "Plan again: the token is checked, and nothing is to do", "plan", "-input=false", "-detailed-exitcode")
}

// show runs Terraform and shows its output.
func (d *demo) show(ctx context.Context, title string, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Ctrl-C reaches Terraform from the terminal. If the end of ctx interrupted it
	// a second time, it would exit without saving the state.
	cmd := d.terraform.Command(context.WithoutCancel(ctx), args...)
	fmt.Printf("\n== %s\n   %s %s\n\n", title, filepath.Base(cmd.Path), strings.Join(args, " "))
	if out, err := os.Stdout.Stat(); err != nil || out.Mode()&os.ModeCharDevice == 0 {
		cmd.Args = append(cmd.Args, "-no-color")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(cmd.Path), args[0], err)
	}
	return nil
}

// token reads the session's token from the state, as another resource would.
func (d *demo) token(ctx context.Context) (string, error) {
	r, err := d.terraform.Run(ctx, "output", "-raw", "auth_token")
	return r.Stdout, err
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
