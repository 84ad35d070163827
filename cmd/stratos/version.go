package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/gostratos/stratos"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the framework and of Go, and the commit",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo() // nil: the program was built without
			_, err := fmt.Fprintf(c.OutOrStdout(), "stratos %s %s %s/%s\nrevision %s\n",
				stratos.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, revision(info))
			return err
		},
	}
}

// revision is the commit that the program was built from, as far as it knows.
func revision(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	said := map[string]string{}
	for _, s := range info.Settings {
		said[s.Key] = s.Value
	}
	text := said["vcs.revision"]
	if text == "" {
		return "unknown (built without version control)"
	}
	if at := said["vcs.time"]; at != "" {
		text += " of " + at
	}
	if said["vcs.modified"] == "true" {
		text += ", with changes"
	}
	return text
}
