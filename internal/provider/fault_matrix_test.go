// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// faultTable says what each call of the API must come to under each fault, with
// two retries: how many requests the server gets, and their outcome.
//
// FAULT is the status, the body of a 200, what a token in it holds that cannot be
// kept, what repeats a secret, what follows the response, or what becomes of the
// connection or its stream. WITH is its Retry-After, if it has one, the scheme that it
// asks for, how it disguises a page of HTML, the response to the request that follows
// (the DELETE of a token that cannot be kept, the GET that checks one), that the
// request took effect, or that the endpoint has accepted a token before.
//
//	ok        the call succeeds
//	fails     the call fails, and the user reads why
//	pauses    it fails because Flame asks for a longer pause than there is time for
//	dead      GET: the token no longer works
//	gone      DELETE: the token was dead already
//	in body   the second DELETE has the token in its body too, and is no retry
//	orphan    the user reads that Flame may hold a session nobody knows the token of
//	1 GET     DELETE: the token is checked, because the refusal proves nothing
//	3 DELETE  Flame's token cannot be kept; so many requests try to revoke it
//	revoked   and the user reads that one did
//
// Before the slash: the first request gets the fault. After it: every request
// does. Without a slash both come to the same, and the kinds of account take turns;
// an empty cell is not tested.
const faultTable = `
FAULT                                           | WITH                      | POST                         | GET             | DELETE
301, 302, 307                                   | -, 0, 3600                | 1 fails                      | 1 fails         | 1 fails
400, 422                                        | -, 0, 3600                | 1 fails                      | 1 fails         | 2 ok in body / 2 fails in body
401                                             | -, 0, 3600                | 1 fails                      | 1 dead          | 1 gone
403                                             | -, 0, 3600                | 1 fails                      | 1 ok            | 1 fails
404, 410                                        | -, 0, 3600                | 1 fails                      | 1 fails         | 1 fails 1 GET
404, 410                                        | carried out               |                              |                 | 1 gone 1 GET
404, 410                                        | GET 302, GET 403, GET 404 |                              |                 | 1 fails 1 GET
404, 410                                        | GET 200 HTML, GET 401 HTML, GET 401 Basic |              |                 | 1 fails 1 GET
404, 410                                        | GET 500                   |                              |                 | 1 fails 3 GET
405, 406                                        | -, 0, 3600                | 1 fails                      | 1 fails         | 1 fails

429                                             | -, 0, past date, nonsense | 2 ok / 5 pauses              | 2 ok / 5 pauses | 2 ok / 5 pauses
500, 520, 522, 524                              | -, 0                      | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok / 3 fails
503                                             | -                         | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok / 3 fails
503                                             | 0, past date, nonsense    | 2 ok / 3 fails               | 2 ok / 3 fails  | 2 ok / 3 fails
502, 504                                        | -, 0                      | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok / 3 fails
429, 503                                        | 1, date soon              | 2 ok /                       | 2 ok /          | 2 ok /
429, 503                                        | 3600                      | 1 pauses                     | 1 pauses        | 1 pauses
429, 503                                        | date in an hour           | 1 pauses                     | 1 pauses        | 1 pauses
500, 502, 504                                   | 3600                      | 1 pauses orphan              | 1 pauses        | 1 pauses

101                                             | -                         | 1 fails                      | 1 fails         | 1 fails
401                                             | Token, token              | 1 fails                      | 1 dead          | 1 gone
401                                             | Basic, Bearer, Negotiate  | 1 fails                      | 1 fails         | 1 fails
401                                             | Basic after acceptance    | 1 fails                      | 1 dead          | 1 gone
401 empty                                       | as text/html              | 1 fails                      | 1 dead          | 1 gone
403 empty                                       | as text/html              | 1 fails                      | 1 ok            | 1 fails

200 HTML                                        | DISGUISES                 | 1 fails orphan               | 1 fails         | 1 fails
401 HTML, 403 HTML                              | DISGUISES                 | 1 fails                      | 1 fails         | 1 fails
401 HTML                                        | Token, after acceptance   | 1 fails                      | 1 fails         | 1 fails
404 HTML, 410 HTML                              | DISGUISES                 | 1 fails                      | 1 fails         | 1 fails 1 GET
503 HTML                                        | DISGUISES                 | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok / 3 fails
own answer                                      | as text/html              | 1 ok                         | 1 fails         | 1 fails
empty                                           | as text/html              | 1 fails orphan               | 1 ok            | 1 ok

stray bytes                                     | -                         | 1 ok                         | 1 ok            | 1 ok
204                                             | a body                    | 1 fails orphan               | 1 ok            | 1 ok
password in members, token in members           | -                         | 1 ok                         |                 |

204, empty, garbage, null, list, too large      | -                         | 1 fails orphan               | 1 ok            | 1 ok
no token, empty token, token null, token number | -                         | 1 fails orphan               | 1 ok            | 1 ok
line break, NUL, lost bytes                     | -                         | 1 fails orphan               | 1 ok            | 1 ok
space, quote, not ASCII                         | -                         | 1 fails 1 DELETE orphan      | 1 ok            | 1 ok
space, quote, not ASCII                         | DELETE 200, DELETE 204    | 1 fails 1 DELETE revoked     |                 |
space, quote, not ASCII                         | DELETE 200 HTML, DELETE 401 | 1 fails 1 DELETE orphan    |                 |
space, quote, not ASCII                         | DELETE 404                | 1 fails 1 DELETE 1 GET orphan |                 |
space, quote, not ASCII                         | DELETE 500                | 1 fails 3 DELETE orphan      |                 |

cut                                             | -, carried out            | 2 ok orphan / 3 fails orphan | 1 ok            | 1 ok
dropped, no answer                              | -                         | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok / 3 fails
dropped, no answer                              | carried out               | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok   / 3 fails
cut                                             | HTTP/2                    | 2 ok orphan / 3 fails orphan | 1 ok            | 1 ok
REFUSED_STREAM                                  | -                         | 2 ok / 3 fails               | 2 ok / 3 fails  | 2 ok / 3 fails
INTERNAL_ERROR, PROTOCOL_ERROR, CANCEL          | -                         | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok / 3 fails
INTERNAL_ERROR, PROTOCOL_ERROR, CANCEL          | carried out               | 2 ok orphan / 3 fails orphan | 2 ok / 3 fails  | 2 ok   / 3 fails
nobody listens                                  | -                         | / 3 fails                    | / 3 fails       | / 3 fails
`

// faultOps are the operations: the call each makes, and what the outcome of the
// call means for the user (nothing, a warning, an error) and for the session,
// which is held afterwards or not. An orphan adds a warning to a success.
var faultOps = []*faultOp{
	{"create", flametest.OpOpen, map[string]string{"ok": "held", "fails": "error, none"}},
	{"read", flametest.OpCheck, map[string]string{"ok": "held", "fails": "warning, held", "dead": "warning, none"}},
	{"delete", flametest.OpRevoke, map[string]string{"ok": "none", "gone": "none", "fails": "error, held"}},
	{"import", flametest.OpCheck, map[string]string{"ok": "held", "fails": "error, none", "dead": "error, none"}},
	{"ephemeral open", flametest.OpOpen, map[string]string{"ok": "held", "fails": "error, none"}},
	{"ephemeral close", flametest.OpRevoke, map[string]string{"ok": "none", "gone": "none", "fails": "warning, none"}},
	{"action", flametest.OpRevoke, map[string]string{"ok": "none", "gone": "none", "fails": "error, none"}},
}

type faultOp struct {
	name     string
	call     flametest.Operation
	outcomes map[string]string
}

const faultRetries = 2

// TestFaultMatrix does every operation under every fault, with every kind of account:
// with one session per user, all kinds come to the same. It speaks the provider's
// protocol as Terraform does, so it needs no Terraform. With FLAME_FAULT_TABLE set, it
// prints what came of each cell.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	log.SetOutput(io.Discard)                         // as Serve does
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as Serve does: a fifth of the time
	cells := faultCells(t)
	folder := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	busy := make(chan struct{}, 8)
	var all sync.WaitGroup
	for _, c := range slices.SortedStableFunc(slices.Values(cells), inTurn) {
		if c.fault.unreachable {
			all.Wait() // another fake could listen at the port that is free again
		}
		busy <- struct{}{}
		all.Go(func() {
			defer func() { <-busy }()
			if err := c.run(ctx, folder, busy); err != nil {
				c.errorf("%v", err)
			}
		})
	}
	all.Wait()
	for _, c := range cells {
		if len(c.problems) > 0 {
			t.Run(c.String(), func(t *testing.T) { t.Error(strings.Join(c.problems, "\n")) })
		}
	}
	if os.Getenv("FLAME_FAULT_TABLE") == "" {
		t.Logf("%d cells", len(cells))
	} else if err := printFaults(cells); err != nil {
		t.Fatal(err)
	}
}

// printFaults prints the cells, and those that only differ in the kind of account as
// one.
func printFaults(cells []*faultCell) error {
	rows := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "OPERATION\tFAULT\tHOW OFTEN\tACCOUNTS\tREQUESTS\tOUTCOME\tLIVE, HELD\tTOLD OF IT")
	for group := range slices.Chunk(cells, len(flametest.Kinds())) {
		often := group[0].often
		if group[1].often != often {
			often = "either"
		}
		all := !slices.ContainsFunc(group, func(c *faultCell) bool { return c.saw != group[0].saw })
		for _, c := range group {
			kind := c.kind.String()
			if all {
				kind = "all"
			} else {
				often = c.often
			}
			fmt.Fprintf(rows, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.op.name, c.fault.name, often, kind, c.saw.requests, c.saw.outcome, c.saw.live, c.saw.told)
			if all {
				break
			}
		}
	}
	fmt.Fprintf(rows, "%d cells\n", len(cells))
	return rows.Flush()
}
