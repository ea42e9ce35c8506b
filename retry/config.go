package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

// The defaults of a Config.
const (
	defaultAttempts      = 3
	defaultMaxRetryAfter = 30 * time.Second
	defaultBase          = 100 * time.Millisecond
	defaultMax           = 10 * time.Second
)

// maxAttempts bounds a configured number of attempts; whoever means "for ever" says so.
const maxAttempts = 1 << 30

// Config configures a [Retrier]. The zero value is a sound one: three attempts, full jitter
// from 100 ms to 10 s, and a budget of its own.
type Config struct {
	_ [0]func()

	// Name tells this retrier from others in errors and descriptions.
	Name string

	// MaxAttempts is how often fn runs at the most, the first time included: 0 means 3, and 1
	// never retries. Negative is unlimited; MaxElapsed must then be set.
	MaxAttempts int

	// MaxElapsed is the time after the start of the call in which another run may begin: a
	// retry whose delay would end later is not made. It does not cut a run short; a timeout
	// policy does that. 0 means no bound; at most 100 years.
	MaxElapsed time.Duration

	// Backoff makes the schedule of delays for one call. It is called once a call, and only
	// when the first retry comes; calls are concurrent, so it must return a new BackOff each
	// time. The BackOff is Reset before use. A negative delay other than backoff.Stop counts
	// as zero, and one that exceeds 100 years as one that never fits. nil, or a nil BackOff,
	// means FullJitter(100 ms, 10 s).
	Backoff func() backoff.BackOff

	// MaxRetryAfter is the longest wait an error may ask for through its RetryAfter method
	// (see [thole.RetryAfter]). One that asks for more is not retried: better to fail now
	// than to hang. 0 means 30 s; at most 100 years.
	MaxRetryAfter time.Duration

	// RetryIf, if set, is asked about each error that would be retried; false returns that
	// error as it is. It narrows what is retried and cannot widen it: an error that should be
	// retried although it is not a Failure says so itself (see [thole.Retryable]).
	RetryIf func(error) bool

	// Budget bounds the retries of all calls together. nil means one of the retrier's own
	// with the defaults of [thole.BudgetConfig]; [thole.NoBudget] means no bound. Give the
	// same budget to every retry and hedge around one destination.
	Budget *thole.Budget

	// OnRetry, if set, is called before the delay of each retry, with the attempt to come,
	// the error of the one before, and the delay. It runs in the caller's goroutine, outside
	// every lock.
	OnRetry func(ctx context.Context, next thole.Attempt, err error, delay time.Duration)
}

// Validate reports what is wrong with the configuration, naming each field, or nil. It does
// not call Backoff.
func (c Config) Validate() error {
	f := check.Of("retry")
	f.Need(c.MaxAttempts <= maxAttempts, "MaxAttempts", c.MaxAttempts, "0 (3) to 1073741824, or negative (unlimited)")
	f.Duration("MaxElapsed", c.MaxElapsed, "no bound")
	f.Need(c.MaxAttempts >= 0 || c.MaxElapsed != 0, "MaxElapsed", c.MaxElapsed,
		"more than 0, because MaxAttempts is negative (unlimited)")
	f.Duration("MaxRetryAfter", c.MaxRetryAfter, "30 s")
	return f.Err()
}

// settings is a configuration in force: valid, with the defaults filled in.
type settings struct {
	Config
	own   bool    // Budget is the retrier's own
	curve *ladder // the schedule, where it is known: nil for one of the user's making
}

// settings fills the defaults in. own is the budget that serves when c names none.
func (c Config) settings(own *thole.Budget) *settings {
	s := &settings{Config: c}
	if s.MaxAttempts == 0 {
		s.MaxAttempts = defaultAttempts
	}
	if s.MaxRetryAfter == 0 {
		s.MaxRetryAfter = defaultMaxRetryAfter
	}
	if s.Backoff == nil {
		s.Backoff = defaultSchedule
	}
	if s.Budget == nil {
		s.Budget, s.own = own, true
	}
	s.curve = ladderOf(s.Backoff)
	return s
}

// schedule makes the BackOff of one call, ready for use.
func (s *settings) schedule() backoff.BackOff {
	b := s.Backoff()
	if b == nil {
		b = defaultSchedule()
	}
	if e, ok := b.(*backoff.ExponentialBackOff); ok {
		// One written as a literal has no clock and would panic, or no Stop: past its
		// MaxElapsedTime it would ask for a delay of zero for ever.
		if e.Clock == nil {
			e.Clock = backoff.SystemClock
		}
		if e.Stop == 0 {
			e.Stop = backoff.Stop
		}
	}
	b.Reset()
	return b
}
