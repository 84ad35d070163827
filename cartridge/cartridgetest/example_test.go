package cartridgetest_test

import (
	"testing"

	"github.com/gostratos/stratos/cartridge/cartridgetest"
)

// An author of a type has one test like this.
func ExampleRun() {
	_ = func(t *testing.T) {
		cartridgetest.Run(t, site{}, cartridgetest.Case{
			Files: map[string]string{"index.html": "<h1>hello</h1>"},
			Want:  map[string]string{"/": "hello"},
		})
	}
}
