package agent

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gostratos/stratos/agent/wire"
)

// clock is the time as the control plane has it: the machine's, until an
// answer says that they are too far apart. The zero value is ready.
type clock struct{ ahead atomic.Int64 } // of the machine's clock, in nanoseconds

// Now is the control plane's time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// learn takes the time of an answer, if that refused a request for nothing but
// its time, and reports whether it did.
func (c *clock) learn(r *http.Response) bool {
	if r.StatusCode != http.StatusUnauthorized || r.Header.Get(wire.ClockHeader) != wire.ClockSkewed {
		return false
	}
	theirs, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return false
	}
	c.ahead.Store(int64(time.Until(theirs)))
	return true
}
