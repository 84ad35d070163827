package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos/cmd/stratos/internal/config"
	"github.com/gostratos/stratos/cmd/stratos/internal/doctor"
)

func newDoctor() *cobra.Command {
	var d doctor.Doctor
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine has and lacks for running a platform, and the cure",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file != "" {
				if err := apply(&d, file, c.Flags().Changed); err != nil {
					return err
				}
			}
			found := d.Examine(c.Context())
			report := table
			if asJSON {
				report = lines
			}
			if err := report(c.OutOrStdout(), found); err != nil {
				return err
			}
			if doctor.Failed(found) {
				return errors.New("a platform does not run here: see what failed, and its cure")
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "take folder, addresses and domain from this `file`")
	c.Flags().StringVar(&d.Dir, "dir", "", "data `folder` (default stratos.data)")
	c.Flags().StringVar(&d.Listen, "listen", "", "`address` of the balancer (default 127.0.0.1:8000)")
	c.Flags().StringVar(&d.API, "api", "", "`address` of the control plane (default 127.0.0.1:8080)")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return c
}

// apply takes from a configuration what no flag says.
func apply(d *doctor.Doctor, path string, flag func(string) bool) error {
	f, err := config.Load(path)
	if err != nil {
		return err
	}
	if !flag("dir") {
		if d.Dir = f.Dir; d.Dir == "" {
			d.Dir = f.Name + ".data"
		}
	}
	if !flag("listen") {
		d.Listen = f.Listen
	}
	if !flag("api") {
		d.API = f.API
	}
	d.Domain = f.Domain
	return nil
}

// table writes findings for people: a cure stands below what it cures.
func table(w io.Writer, found []doctor.Finding) error {
	width := 0
	for _, f := range found {
		width = max(width, len(f.Check))
	}
	for _, f := range found {
		text := fmt.Sprintf("%-4s  %-*s  %s\n", f.Status, width, f.Check, f.Detail)
		if f.Cure != "" {
			text += fmt.Sprintf("%-4s  %-*s  -> %s\n", "", width, "", f.Cure)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// lines writes findings for programs.
func lines(w io.Writer, found []doctor.Finding) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, f := range found {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return nil
}
