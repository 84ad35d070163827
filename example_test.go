package stratos_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/autoscale"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
	"github.com/gostratos/stratos/tenant"
)

// atNight keeps one member at night, and leaves the day to another policy.
type atNight struct{ day autoscale.Policy }

func (p atNight) Recommend(o *autoscale.Observation) (autoscale.Recommendation, error) {
	if hour := o.Now.Hour(); hour < 6 {
		return autoscale.Recommendation{Size: o.Min, Reason: "it is night"}, nil
	}
	return p.day.Recommend(o)
}

// A flavour with a policy of its own. The program's main calls local.Main first.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	p, err := stratos.New(stratos.Config{
		Name:       "shop",
		Dir:        filepath.Join(dir, "data"),
		Cartridges: []cartridge.Type{proc.Type{}},
		Policies:   map[string]autoscale.Policy{"": atNight{day: autoscale.InFlight{PerMember: 50}}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	err = p.Subscribe(context.Background(), tenant.Subscription{Alias: "web", Cartridge: "perl"})
	fmt.Println(err)
	fmt.Println(p.Config().Listen, p.Config().API)
	// Output:
	// subscription web: unknown cartridge "perl": this flavour has proc
	// 127.0.0.1:8000 127.0.0.1:8080
}
