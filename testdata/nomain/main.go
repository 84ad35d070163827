// Command nomain is a flavour that forgot local.Main.
package main

import (
	"fmt"
	"os"

	"github.com/gostratos/stratos"
	"github.com/gostratos/stratos/cartridge"
	"github.com/gostratos/stratos/cartridge/proc"
	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/local"
)

func main() {
	_, err := stratos.New(stratos.Config{
		Name: "nomain", Dir: os.Args[1],
		Cartridges: []cartridge.Type{proc.Type{}},
		Accounts:   []*cloud.Account{{Name: "here", Driver: &local.Driver{}}},
	})
	if err != nil {
		fmt.Println(err)
	}
}
