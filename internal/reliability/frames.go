package main

import (
	"context"
	"time"

	"github.com/gostratos/stratos/internal/reliability/stream"
)

// framesSync is the period of the digests.
const framesSync = 5 * time.Second

// frames is row 6.
func frames(ctx context.Context, b *bench, f *figures) error {
	r, err := stream.Run(ctx, stream.Options{Seed: b.seed, Changes: b.of(5000, 100_000), Consumers: 40, Sync: framesSync})
	if err != nil {
		return err
	}
	f.add(r.Longest <= framesSync && r.Mangled > 0 && r.Lost+r.Mismatches > 0,
		"%d of %d frames mangled, %d gaps and %d mismatches noticed; all of %d consumers equal after %.1f s (period %v)",
		r.Mangled, r.Frames, r.Lost, r.Mismatches, r.Consumers, r.Longest.Seconds(), framesSync)
	_, err = stream.Run(ctx, stream.Options{Seed: b.seed, Changes: 100, Consumers: 80, Mangle: 1,
		Sync: 100 * time.Millisecond, Deadline: 3 * time.Second, HideSyncs: true})
	f.add(err != nil && ctx.Err() == nil, "without digests they stay wrong: %t", err != nil)
	return nil
}
