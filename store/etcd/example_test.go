package etcd_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/gostratos/stratos/store"
	"github.com/gostratos/stratos/store/etcd"
)

// Every replica of a control plane opens the same cluster.
func ExampleOpen() {
	ctx := context.Background()
	s, err := etcd.Open(ctx, etcd.Config{
		Endpoints: []string{"etcd1.example:2379", "etcd2.example:2379", "etcd3.example:2379"},
		TLS:       &tls.Config{MinVersion: tls.VersionTLS13},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	leader, err := store.Campaign(ctx, s, "control", "replica 1", 10*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("leads since revision", leader.Epoch())
}
