package local_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

// A flavour calls Main first; the rest is any cloud's.
func ExampleDriver() {
	local.Main()

	ctx := context.Background()
	dir, err := os.MkdirTemp("", "local")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	here := &cloud.Account{Name: "here", Driver: &local.Driver{}}
	if err := here.Open(ctx, dir); err != nil {
		log.Fatal(err)
	}
	i, err := here.Launch(ctx, cloud.Spec{
		Token:    "t1",
		Name:     "shop-1",
		Tags:     map[string]string{cloud.TagOwner: "me"},
		UserData: []byte(`{"v":1,"control":["http://127.0.0.1:1"],"cluster":"shop","member":"shop-1","token":"once"}`),
	})
	fmt.Println(i.ID, i.State, i.Addresses, err)

	for { // as the platform does: until it is gone
		if err := here.Terminate(ctx, i.ID); err != nil {
			log.Fatal(err)
		}
		if all, err := here.List(ctx, "me"); err != nil || len(all) == 0 {
			fmt.Println(len(all), err)
			return
		}
	}
	// Output:
	// shop-1 running [127.0.0.1] <nil>
	// 0 <nil>
}
