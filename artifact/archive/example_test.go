package archive_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gostratos/stratos/artifact/archive"
)

func Example() {
	from, err := os.MkdirTemp("", "from")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(from)
	to, err := os.MkdirTemp("", "to")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(to)
	if err := os.WriteFile(filepath.Join(from, "index.html"), []byte("hello"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	var stream bytes.Buffer
	if err := archive.Pack(from, &stream); err != nil {
		fmt.Println(err)
		return
	}
	if err := archive.Unpack(&stream, to, archive.Limits{Bytes: 1 << 20}); err != nil {
		fmt.Println(err)
		return
	}
	b, err := os.ReadFile(filepath.Join(to, "index.html"))
	fmt.Println(string(b), err)
	// Output: hello <nil>
}
