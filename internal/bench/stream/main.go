// Command stream measures what it costs to tell many subscribers, each with a
// connection of its own over mutual TLS, of one changed member: the time until
// they know, and the memory and CPU of the serving process. Server and
// subscribers are two processes of this program.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	var o options
	serve := flag.Bool("serve", false, "be the serving process: commands on standard input")
	flag.IntVar(&o.Subscribers, "subscribers", 1000, "streams of everything")
	flag.IntVar(&o.Clusters, "clusters", 10_000, "clusters")
	flag.IntVar(&o.Members, "members", 100_000, "members")
	flag.IntVar(&o.Rounds, "rounds", 50, "changes, one after another")
	flag.DurationVar(&o.Pause, "pause", 100*time.Millisecond, "between the changes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *serve {
		err = runServer(ctx, o, os.Stdin, os.Stdout)
	} else {
		err = report(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func report(ctx context.Context, o options) error {
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("subscribers          %d over mutual TLS, HTTP/1.1, of %d clusters, %d members\n", o.Subscribers, o.Clusters, o.Members)
	fmt.Printf("delivered            %d of %d\n", r.Delivered, o.Subscribers*o.Rounds)
	fmt.Printf("changed -> known     p50 %v, p99 %v, max %v\n", r.P50, r.P99, r.Max)
	fmt.Printf("memory a subscriber  %.1f KB live heap and stacks; %.1f KB resident, the holes that handshakes leave in the heap included; one of the second half %.1f KB resident\n", r.UsedKB, r.ResidentKB, r.NextKB)
	fmt.Printf("CPU a delivery       %.1f us of the serving process\n", r.CPUMicros)
	fmt.Printf("server               %.0f MB resident before the subscribers, ready in %v\n", r.BaseMB, r.Ready.Round(time.Millisecond))
	return nil
}
