package cloudtest_test

import (
	"testing"

	"github.com/gostratos/stratos/cloud"
	"github.com/gostratos/stratos/cloud/cloudtest"
)

// A driver's author calls Run from a test.
func ExampleRun() {
	dc := &datacentre{instances: map[cloud.InstanceID]*machine{}}
	test := func(t *testing.T) {
		cloudtest.Run(t, cloudtest.Harness{
			Open: func(testing.TB) cloud.Driver { return &memory{dc: dc, kind: cloud.ByName} },
			Kill: func(_ testing.TB, id cloud.InstanceID) { dc.instances[id].State = cloud.Gone },
		})
	}
	_ = test // func TestDriver(t *testing.T)
}
