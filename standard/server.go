package standard

import (
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

// Server returns a policy for the calls a service answers: limit of them at a time, as many
// again in a queue for at most 1 s, the rest refused at once. A queue as long as the limit
// smooths bursts without making calls wait longer than about the time one takes. It panics
// unless limit is at least 1 and at most bulkhead.MaxLimit.
func Server(limit int) thole.Policy {
	if limit < 1 {
		panic(fmt.Sprintf("standard: Server: limit is %d: want at least 1", limit))
	}
	return bulkhead.New(bulkhead.Config{
		Name:       "server",
		Limit:      limit,
		MaxWaiting: limit,
		MaxWait:    time.Second,
	})
}
