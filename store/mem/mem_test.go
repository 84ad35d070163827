package mem_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/mem"
	"github.com/gostratos/stratos/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return mem.New() })
}

func ExampleNew() {
	ctx := context.Background()
	s := mem.New()
	defer s.Close()

	rev, err := s.Commit(ctx, store.Txn{Then: []store.Op{{Key: "greeting", Value: []byte("hello")}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	kv, _, err := s.Get(ctx, "greeting", store.ReadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(kv.Value), kv.Mod == rev)
	// Output: hello true
}
