package controller_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/controller"
	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/topology"
)

// A leader turns a want into instances of one cloud, until it is told to end.
func ExampleController_Run() {
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	records := mem.New()
	defer records.Close()
	mirror := &topology.Mirror{Store: records}
	c := &controller.Controller{
		Store: records, Topology: mirror,
		Accounts: []*cloud.Account{{Name: "here", Driver: (&faultyCloud{kind: cloud.ByName}).ready()}},
		UserData: func(m topology.Member, joinToken string) ([]byte, error) { return []byte(joinToken), nil },
	}
	lead, err := store.Campaign(ctx, records, "control", "this replica", 10*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	go mirror.Run(ctx)
	fmt.Println(c.Run(ctx, lead))
	// Output: <nil>
}
