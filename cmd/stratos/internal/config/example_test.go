package config_test

import (
	"fmt"

	"github.com/gostratos/stratos/cmd/stratos/internal/config"
)

func ExampleParse() {
	_, err := config.Parse("stratos.yaml", []byte("listen: 127.0.0.1\npoll: 1ms\n"))
	fmt.Println(err)

	f, err := config.Parse("stratos.yaml", []byte("name: shop\npoll: 10s\n"))
	fmt.Println(f.Name, f.Poll, f.Cartridges, err)
	// Output:
	// stratos.yaml:1:1: listen: "127.0.0.1" is no address: write host:port, for example 127.0.0.1:8000
	// stratos.yaml:2:1: poll: 1ms is too short: write 100ms or more, or leave it out
	// shop 10s [php tomcat mysql proc] <nil>
}
