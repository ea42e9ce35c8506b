package timeout

import (
	"time"

	"github.com/thole-go/thole/internal/check"
)

// Config configures a [Timeout].
type Config struct {
	_ [0]func()

	// Name tells this policy from others, in errors and in String. It may be empty.
	Name string

	// Limit is how long a call may take. It is required: more than 0, at most 100 years.
	Limit time.Duration
}

// Validate returns an error that names each field with a value that is not allowed, or nil.
func (c Config) Validate() error {
	f := check.Of("timeout")
	f.Positive("Limit", c.Limit)
	return f.Err()
}
