package doctor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gostratos/stratos/cmd/stratos/internal/doctor"
)

func ExampleDoctor_Examine() {
	d := &doctor.Doctor{Now: time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)}
	for _, f := range d.Examine(context.Background()) {
		if f.Check == "clock" {
			fmt.Printf("%s: %s; %s\n", f.Status, f.Detail, f.Cure)
		}
	}
	// Output: fail: it is said to be 1999-12-31T00:00:00Z; set the clock: timedatectl set-ntp true
}
