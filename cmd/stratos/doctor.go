package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

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
		Long: `Say what this machine has and lacks for running a platform, and the cure.

With --config it looks, too, at what the file names: the etcd servers (version,
alarms, room), the bucket, the master key, and the certificates that somebody has
to renew. It changes nothing, and ends with 1 if a platform would not run.`,
		Example: `  stratos doctor
  stratos doctor --config stratos.yaml
  stratos doctor --json | grep '"status":"fail"'`,
		Args: cobra.NoArgs,
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
	c.Flags().StringVarP(&file, "config", "c", "", "look at what this `file` names; flags go before it")
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
		d.Dir = f.DataDir()
	}
	if !flag("listen") {
		d.Listen = f.Listen
	}
	if !flag("api") {
		d.API = f.API
	}
	d.Domain = f.Domain
	d.MasterKey = f.MasterKeyFile()
	d.Certificates = certificates(f)
	if d.Etcd, err = f.EtcdConfig(nil); err != nil {
		return err
	}
	d.Bucket, err = f.Bucket()
	return err
}

// certificates are the files whose ends somebody has to think of.
func certificates(f *config.File) []doctor.Certificate {
	own := doctor.Certificate{
		Check: "authority", Path: filepath.Join(f.DataDir(), "ca.pem"), Optional: true, // made at the first start
		Cure: "see docs/operating.md: the platform needs a new authority",
	}
	var all []doctor.Certificate
	if t := f.TLS; t != nil {
		if t.CACert != "" {
			own = doctor.Certificate{Check: "authority", Path: t.CACert, Cure: "give tls.caCert and tls.caKey a new authority, and start serve again"}
		}
		if t.Cert != "" {
			all = append(all,
				doctor.Certificate{Check: "API certificate", Path: t.Cert, Cure: "renew tls.cert and tls.key, and start serve again"},
				doctor.Certificate{Check: "API roots", Path: t.Roots, Cure: "renew tls.roots, and start serve again"})
		}
	}
	all = append(all, own)
	if s := f.Store; s != nil {
		for _, c := range []struct{ field, path string }{{"ca", s.Etcd.CA}, {"cert", s.Etcd.Cert}} {
			if c.path != "" {
				all = append(all, doctor.Certificate{Check: "etcd certificate", Path: c.path, Cure: "renew store.etcd." + c.field + ", and start serve again"})
			}
		}
	}
	if b := f.Blobs; b != nil && b.S3.CA != "" {
		all = append(all, doctor.Certificate{Check: "bucket certificate", Path: b.S3.CA, Cure: "renew blobs.s3.ca, and start serve again"})
	}
	return all
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
