package store_test

import (
	"context"
	"fmt"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
)

// A reader lists, and then follows: there is no gap, and no overlap.
func ExampleStore() {
	ctx := context.Background()
	s := mem.New()
	defer s.Close()
	write := func(key, value string) {
		if _, err := s.Commit(ctx, store.Txn{Then: []store.Op{{Key: key, Value: []byte(value)}}}); err != nil {
			fmt.Println(err)
		}
	}

	write("city/paris", "2.1")
	page, err := s.List(ctx, "city/", store.ReadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, kv := range page.KVs {
		fmt.Printf("%s %s\n", kv.Key, kv.Value)
	}
	w, err := s.Watch(ctx, "city/", page.Rev)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	write("river/seine", "777")
	write("city/rome", "2.8")
	b, err := w.Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %s\n", b.Events[0].Key, b.Events[0].Value)
	// Output:
	// city/paris 2.1
	// city/rome 2.8
}
