// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A sample is one run of a command.
type sample struct {
	took, cpu, provider   time.Duration // provider: its share of cpu
	peak                  int64         // bytes
	requests, connections int
}

func median(samples []sample) Measure {
	slices.SortFunc(samples, func(a, b sample) int { return int(a.took - b.took) })
	m := samples[len(samples)/2]
	return Measure{
		Seconds:     m.took.Seconds(),
		Spread:      (samples[len(samples)-1].took - samples[0].took).Seconds() / m.took.Seconds(),
		CPUSeconds:  m.cpu.Seconds(),
		Provider:    m.provider.Seconds(),
		Requests:    m.requests,
		Connections: m.connections,
	}
}

// watch samples the providers whose HOME is home every 50 ms, until the caller
// calls stop. That returns their total processor time, and the peak memory of the
// largest. Usage after a process's last sample is missed. Without /proc, that is
// on systems other than Linux, both are 0.
func watch(home string) (stop func() (cpu time.Duration, peak int64)) {
	type used struct {
		cpu  time.Duration
		peak int64
	}
	done, result := make(chan struct{}), make(chan used)
	go func() {
		seen := map[string]used{}
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, dir := range providers(home) {
				if cpu, peak, ok := usage(dir); ok {
					seen[dir] = used{cpu, max(peak, seen[dir].peak)}
				}
			}
			select {
			case <-ticker.C:
				continue
			case <-done:
			}
			var all used
			for _, u := range seen {
				all.cpu += u.cpu
				all.peak = max(all.peak, u.peak)
			}
			result <- all
			return
		}
	}()
	return func() (time.Duration, int64) {
		close(done)
		all := <-result
		return all.cpu, all.peak
	}
}

// providers returns the /proc folders of the providers.
func providers(home string) []string {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.HasPrefix(filepath.Base(strings.SplitN(string(command), "\x00", 2)[0]), "terraform-provider-") {
			return true
		}
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		return err != nil || !strings.Contains(string(environ), "HOME="+home)
	})
}

// usage returns the processor time and the peak resident memory of a process so
// far.
func usage(dir string) (cpu time.Duration, peak int64, ok bool) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, 0, false
	}
	// The name, in parentheses, may contain spaces. User and system time are the
	// 12th and 13th fields after it, in hundredths of a second.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, 0, false
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, 0, false
		}
		cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, 0, false
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	fields = strings.Fields(rest)
	if !found || len(fields) == 0 {
		return cpu, 0, true // the process is exiting
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return cpu, kib * 1024, err == nil
}
