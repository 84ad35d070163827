package s3_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/gostratos/stratos/artifact/s3"
)

// Blobs in a bucket of one's own server. Credentials come from the environment.
func ExampleBlobs() {
	_ = func(ctx context.Context) error {
		b := &s3.Blobs{Bucket: "releases", Prefix: "apaas/", Endpoint: "https://s3.example.org", PathStyle: true}
		if err := b.Check(ctx); err != nil {
			return err // it says what to do
		}
		d, err := b.Put(ctx, strings.NewReader("hello"))
		fmt.Println(d)
		return err
	}
}
