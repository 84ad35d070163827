package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gostratos/stratos/agent"
)

// The test binary is also the app that the agents of the tests run, and the
// agent that a test kills.
const (
	appEnv   = "TEST_APP"   // what the app is to do
	agentEnv = "TEST_AGENT" // user-data of an agent in a process of its own
	dirEnv   = "TEST_AGENT_DIR"
	rootEnv  = "TEST_AGENT_VOLUMES"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(appEnv) != "":
		os.Exit(app(os.Getenv(appEnv)))
	case os.Getenv(agentEnv) != "":
		os.Exit(agentProcess())
	}
	os.Exit(m.Run())
}

func agentProcess() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a := &agent.Agent{Dir: os.Getenv(dirEnv), Volumes: os.Getenv(rootEnv), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if err := json.Unmarshal([]byte(os.Getenv(agentEnv)), &a.UserData); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := a.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// app is what a release of the tests runs. It does what the file "does" of the
// release says.
func app(name string) int {
	if name == "worker" {
		fmt.Println("worker runs")
		select {}
	}
	does := readFile("does")
	fmt.Println("app says hello from", readFile("version"))
	switch does {
	case "crash":
		fmt.Fprintln(os.Stderr, "cannot find the database")
		return 3
	case "deaf":
		select {}
	case "escape":
		// A process that leaves the group and the session.
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), appEnv+"=worker")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	srv := &http.Server{Handler: handler(does)}
	done := make(chan error, 1)
	go func() {
		<-term
		fmt.Println("app says goodbye")
		done <- srv.Shutdown(context.Background())
	}()
	_ = srv.Serve(l) // Shutdown ends it
	if err := <-done; err != nil {
		return 1
	}
	return 0
}

func readFile(name string) string {
	b, err := os.ReadFile(filepath.Join(".", name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func handler(does string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if does == "500" {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, readFile("version"))
	})
	var sick atomic.Bool
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if v := r.FormValue("sick"); v != "" {
			sick.Store(v == "1")
		} else if sick.Load() {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Join(os.Environ(), "\n"))
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(os.Getenv("HOME")+"/slow", nil, 0o600); err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		time.Sleep(300 * time.Millisecond) // the app's, not the test's: work that a stop must not cut off
		fmt.Fprint(w, "done")
	})
	return mux
}
