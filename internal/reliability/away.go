package main

import "context"

// away is row 7.
func away(ctx context.Context, b *bench, f *figures) error {
	r, err := b.partitioned(ctx)
	if err != nil {
		return err
	}
	f.add(len(r.Failed) == 0 && r.LostBalance == 0 && r.Requests > 0, "leader cut off for 1 min, control plane away for %d min: %d requests, %d failed (%d while it was away)",
		b.of(1, 5), r.Requests, len(r.Failed), r.LostBalance)
	for _, why := range r.Failed {
		b.logf("a request failed: %s", why)
	}
	f.add(r.Killed == 0 && r.Relaunched == 0, "%d members killed, %d launched twice", r.Killed, r.Relaunched)
	f.add(r.Returned, "the one that was cut off follows: %t", r.Returned)
	return nil
}
