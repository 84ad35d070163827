// Command smallest is a whole flavour: a PaaS that serves one Git repository.
//
//	go run ./examples/smallest -repository /path/to/a/repository
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/artifact"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/tenant"
)

// flavour:begin
func main() {
	local.Main() // when this process was started as an instance's agent: run it, do not return
	repository := flag.String("repository", ".", "local Git repository to serve")
	listen := flag.String("listen", "127.0.0.1:8000", "address of the balancer")
	api := flag.String("api", "127.0.0.1:8080", "address of the control plane's API")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := stratos.New(stratos.Config{
		Name:       "smallest",
		Listen:     *listen,
		API:        *api,
		Cartridges: []cartridge.Type{proc.Type{}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	err = p.Subscribe(ctx, tenant.Subscription{
		Alias: "app", Cartridge: "proc", Min: 1, Max: 3,
		Repository: tenant.Repository{URL: artifact.Dir(*repository)},
	})
	if err != nil && !errors.Is(err, tenant.ErrAliasTaken) {
		log.Fatal(err)
	}
	log.Printf("serving at http://%s/ for the host app.localhost", *listen)
	if err := p.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// flavour:end
