package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// row is one promise, and how it is measured.
type row struct {
	number       int
	what, target string
	measure      func(ctx context.Context, b *bench, f *figures) error
}

// figures collects what was measured for one row.
type figures struct {
	lines  []string
	missed bool
}

// add takes a figure down, and whether it is at its target.
func (f *figures) add(ok bool, format string, args ...any) {
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
	f.missed = f.missed || !ok
}

// result is one line of the table.
type result struct {
	Number   int      `json:"number"`
	What     string   `json:"what"`
	Target   string   `json:"target"`
	Measured []string `json:"measured"`
	OK       bool     `json:"ok"`
	Seconds  float64  `json:"seconds"`
}

// table is what is printed.
type table struct {
	Go      string   `json:"go"`
	Machine string   `json:"machine"`
	Cores   int      `json:"cores"`
	Short   bool     `json:"short"`
	Seed    uint64   `json:"seed"`
	Rows    []result `json:"rows"`
}

// measure fills the table. A row that cannot be measured has missed its target.
func (t *table) measure(ctx context.Context, b *bench, rows []row) {
	for _, r := range rows {
		b.logf("row %d: %s", r.number, r.what)
		began := time.Now()
		var f figures
		if err := r.measure(ctx, b, &f); err != nil {
			b.logf("row %d: %v", r.number, err)
			f.add(false, "%s", firstLine(err.Error()))
		}
		t.Rows = append(t.Rows, result{
			Number: r.number, What: r.what, Target: r.target,
			Measured: f.lines, OK: !f.missed && len(f.lines) > 0, Seconds: time.Since(began).Seconds(),
		})
		b.logf("row %d: %s (%v)", r.number, strings.Join(f.lines, "; "), time.Since(began).Round(time.Second))
	}
}

func (t *table) met() bool {
	for _, r := range t.Rows {
		if !r.OK {
			return false
		}
	}
	return true
}

// print writes the table as Markdown.
func (t *table) print(w io.Writer) error {
	var b strings.Builder
	short := ""
	if t.Short {
		short = ", the short set"
	}
	fmt.Fprintf(&b, "%s, %s, %d cores, seed %d%s\n\n", t.Go, t.Machine, t.Cores, t.Seed, short)
	b.WriteString("| # | what | target | measured | verdict |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range t.Rows {
		verdict := "ok"
		if !r.OK {
			verdict = "FAILED"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", r.Number, cell(r.What), cell(r.Target), cell(strings.Join(r.Measured, "; ")), verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
