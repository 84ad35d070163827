package agent_test

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/gostratos/stratos/agent"
)

// The main program of an instance whose user-data was written to a file.
func ExampleAgent() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	a := &agent.Agent{Dir: "/var/lib/stratos", Log: slog.Default()}
	text, err := os.ReadFile("/etc/stratos/user-data")
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(text, &a.UserData); err != nil {
		log.Fatal(err)
	}
	if err := a.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
