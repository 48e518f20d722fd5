// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// coverage counts what the scripts reached. A generator that never reaches a cell proves
// nothing about it.
type coverage struct {
	mu      sync.Mutex
	scripts int
	runs    int
	cells   map[string]map[string]int // by table: "command × kind" …
}

func newCoverage() *coverage {
	return &coverage{cells: map[string]map[string]int{}}
}

// kindName names the kind of account, and of one with a limited number of tokens.
func (w World) kindName() string {
	if w.MaxTokens > 0 {
		return "limited"
	}
	return w.Kind.String()
}

func (c *coverage) hit(table, row, column string) {
	if c.cells[table] == nil {
		c.cells[table] = map[string]int{}
	}
	c.cells[table][row+"|"+column]++
}

// add counts a script: what its runs did, and which faults really met a request.
func (c *coverage) add(script Script, records []*record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scripts++
	kind := script.World.kindName()
	for _, r := range records {
		c.runs++
		c.hit("commands", string(r.run.Op), kind)
		for mode, used := range map[string]bool{
			"-refresh=false": r.run.Refresh == "none", "-minimal-refresh": r.run.Refresh == "minimal", "-replace": len(r.run.Replace) > 0,
			"-target": len(r.run.Target) > 0, "taint": len(r.run.Taint) > 0, "moved": len(r.run.Moved) > 0, "forget": len(r.run.Forget) > 0,
			"import or move": len(r.run.Import) > 0, "ended elsewhere": len(r.run.Ends)+len(r.run.PlanEnds) > 0, "interrupt": r.run.Cancel > 0, "kill": r.run.Kill > 0,
			"later, elsewhere": r.run.Providers != nil, "time passes": r.run.Wait+r.run.PlanAge > 0, "nothing wrong": r.healthy,
		} {
			if used {
				c.hit("modes", mode, kind)
			}
		}
		for a, journal := range r.journal {
			n := map[flametest.Operation]int{}
			for _, request := range journal {
				n[request.Op]++
				if what := r.faultOf(a, request.Op, n[request.Op]); what != "" {
					c.hit("faults", what, request.Method)
				}
			}
		}
		for action, n := range r.actions {
			for range n {
				c.hit("changes", action, kind)
			}
		}
	}
}

// floors are the least numbers of each cell, for 1,000 scripts.
var floors = map[string]int{"commands": 20, "modes": 8, "faults": 1, "changes": 1}

// columns of the tables; the rows are those that must be there.
var (
	kindColumns = []string{"independent", "shared", "superseding", "sweeping", "limited"}
	tableRows   = map[string][]string{
		"commands": {string(Apply), string(PlanApply), string(PlanOnly), string(RefreshOnly), string(Destroy), string(Invoke)},
		"modes": {
			"-refresh=false", "-minimal-refresh", "-replace", "-target", "taint", "moved", "forget", "import or move", "ended elsewhere",
			"interrupt", "kill", "later, elsewhere", "time passes", "nothing wrong",
		},
		"faults":  slices.DeleteFunc(slices.Clone(faultNames), func(name string) bool { return name == "down" }),
		"changes": {string(create), string(update), string(destroyAndCreate), string(createAndDestroy), string(destroy), string(noOp), "destroy deposed", "ephemeral"},
	}
)

// check fails if a cell is below its floor, and logs the tables.
func (c *coverage) check(t *testing.T) {
	t.Helper()
	for _, table := range slices.Sorted(maps.Keys(tableRows)) {
		columns := kindColumns
		if table == "faults" {
			columns = []string{"POST", "GET", "DELETE"}
		}
		text := fmt.Sprintf("%-18s", table)
		for _, column := range columns {
			text += fmt.Sprintf("%12s", column)
		}
		for _, row := range tableRows[table] {
			text += fmt.Sprintf("\n%-18s", row)
			for _, column := range columns {
				n := c.cells[table][row+"|"+column]
				text += fmt.Sprintf("%12d", n)
				if n*1000 < floors[table]*c.scripts {
					t.Errorf("%s: only %d of %s × %s in %d scripts", table, n, row, column, c.scripts)
				}
			}
		}
		t.Log("\n" + text)
	}
	t.Logf("%d scripts, %d runs", c.scripts, c.runs)
}
