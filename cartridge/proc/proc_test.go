package proc_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gostratos/stratos/cartridge/cartridgetest"
	"github.com/gostratos/stratos/cartridge/proc"
)

const goApp = `package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "env=%s data=%t", os.Getenv("GREETING"), os.Getenv("DATA_DIR") != "") })
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "first")
		http.NewResponseController(w).Flush()
		time.Sleep(time.Second)
		fmt.Fprint(w, "done")
	})
	s := &http.Server{Addr: os.Getenv("HOST") + ":" + os.Getenv("PORT")}
	over := make(chan struct{})
	go func() {
		<-ctx.Done()
		s.Shutdown(context.Background())
		close(over)
	}()
	fmt.Println(s.ListenAndServe())
	stop()
	<-over
}
`

const nodeApp = `const http = require('http');
const s = http.createServer((q, r) => {
  if (q.url !== '/slow') return r.end('env=' + process.env.GREETING + ' mode=' + process.env.NODE_ENV);
  r.write('first');
  setTimeout(() => r.end('done'), 1000);
});
s.listen(process.env.PORT, process.env.HOST);
process.on('SIGTERM', () => { s.close(() => process.exit(0)); s.closeIdleConnections(); });
`

const pythonApp = `import os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class H(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == "/slow":
            self.wfile.write(b"first")
            time.sleep(1)
            self.wfile.write(b"done")
        else:
            self.wfile.write(("env=" + os.environ.get("GREETING", "")).encode())

class S(ThreadingHTTPServer):
    daemon_threads = False

s = S((os.environ["HOST"], int(os.environ["PORT"])), H)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=s.shutdown).start())
s.serve_forever(0.05)
s.server_close()
`

func greeting() map[string]string { return map[string]string{"GREETING": "{{hello}} $HOME"} }

func TestGo(t *testing.T) {
	cartridgetest.Run(t, proc.Type{}, cartridgetest.Case{
		Files: map[string]string{"go.mod": "module example.test/app\n\ngo 1.21\n", "main.go": goApp},
		Env:   greeting(),
		Want:  map[string]string{"/": "env={{hello}} $HOME data=true"},
		Slow:  "/slow",
	})
}

func TestGoWithProcfile(t *testing.T) {
	r := cartridgetest.Start(t, proc.Type{}, cartridgetest.Case{
		Files: map[string]string{
			"go.mod":          "module example.test/app\n\ngo 1.21\n",
			"cmd/one/main.go": goApp,
			"cmd/two/main.go": "package main\n\nimport \"time\"\n\nfunc main() { println(\"two runs\"); time.Sleep(time.Hour) }\n",
			"Procfile":        "web: GREETING=\"{{from}} the file\" one\nworker: two\n",
		},
	})
	_, body := r.Get("/")
	require.Contains(t, body, "env={{from}} the file")
	require.Eventually(t, func() bool { return strings.Contains(r.Log(), "two runs") }, 10*time.Second, 5*time.Millisecond)
	r.Stop()
}

func TestNode(t *testing.T) {
	cartridgetest.Run(t, proc.Type{}, cartridgetest.Case{
		Files: map[string]string{"package.json": `{"scripts":{"start":"node app.js"}}`, "app.js": nodeApp},
		Env:   greeting(),
		Want:  map[string]string{"/": "env={{hello}} $HOME mode=production"},
		Slow:  "/slow",
	})
}

func TestPython(t *testing.T) {
	cartridgetest.Run(t, proc.Type{}, cartridgetest.Case{
		Files: map[string]string{"app.py": pythonApp},
		Env:   greeting(),
		Want:  map[string]string{"/": "env={{hello}} $HOME"},
		Slow:  "/slow",
	})
}

func TestCommand(t *testing.T) {
	cartridgetest.Run(t, proc.Type{}, cartridgetest.Case{
		Files:    map[string]string{"server": "#!/usr/bin/python3\n" + pythonApp},
		Settings: map[string]string{"command": `GREETING="'{{x}} $GREETING" ./server --port $PORT`},
		Env:      map[string]string{"GREETING": "tenant's"},
		Want:     map[string]string{"/": "env='{{x}} tenant's"},
		Slow:     "/slow",
	})
}

func TestStaticSite(t *testing.T) {
	c := cartridgetest.Case{
		Files: map[string]string{
			"index.html": "<h1>home</h1>", "style.css": "body{}", "data.json": "{}", "app.mjs": "1",
			"docs/index.html": "docs", ".env": "secret", "upload.php": "<?php secret", "Procfile.txt": "x",
		},
		Want:  map[string]string{"/": "home", "/docs/": "docs", "/style.css": "body"},
		NoEnv: true,
	}
	cartridgetest.Run(t, proc.Type{}, c)

	r := cartridgetest.Start(t, proc.Type{}, c)
	for path, want := range map[string]int{"/.env": 404, "/upload.php": 404, "/missing": 404, "/docs": 301, "/../etc/passwd": 400, "/%2e%2e/etc/passwd": 400} {
		status, body := r.Get(path)
		require.Equal(t, want, status, path)
		require.NotContains(t, body, "secret")
	}
	for path, want := range map[string]string{"/": "text/html", "/style.css": "text/css", "/app.mjs": "text/javascript", "/data.json": "application/json"} {
		require.Equal(t, want, r.Header(path).Get("Content-Type"), path)
	}
	r.Stop()
}

// TestProgramsTakeTheShellsPlace: a shell in between would get the signals, and
// report its own end.
func TestProgramsTakeTheShellsPlace(t *testing.T) {
	r := cartridgetest.Start(t, proc.Type{}, cartridgetest.Case{Files: map[string]string{"app.py": pythonApp}})
	require.Len(t, r.Processes(), 1)
	r.Stop()
}
