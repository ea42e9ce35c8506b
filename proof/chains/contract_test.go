package chains

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/chaos"
)

// verdict says what in c breaks the contract, "" if nothing. hedged: runs may overlap and
// outlive the call.
func (c *call) verdict(hedged bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, check := range []func(hedged bool) string{c.clause2, c.clause3, c.clause4, c.clause5, c.clause6, c.clause7, c.repeats, c.deadline} {
		if s := check(hedged); s != "" {
			return s
		}
	}
	return ""
}

func (c *call) last() *run {
	if len(c.runs) == 0 {
		return nil
	}
	return c.runs[len(c.runs)-1]
}

// clause2: a success is never thrown away, and its value is what the caller gets.
func (c *call) clause2(hedged bool) string {
	if c.returned && c.err == nil {
		if c.value < 1 || c.value > len(c.runs) || !c.runs[c.value-1].ended || c.runs[c.value-1].err != nil {
			return fmt.Sprintf("clause 2: Do returned the value of run %d, which did not succeed", c.value-1)
		}
	}
	if hedged || !c.returned || c.err == nil {
		return ""
	}
	if r := c.last(); r != nil && r.err == nil {
		return "clause 2: the last run returned nil, and Do an error"
	}
	return ""
}

// injected reports whether the call ended by a delay of chaos, which is as if fn had run once more.
func (c *call) injected() bool { return errors.Is(c.err, chaos.ErrInjected) }

// clause3: an error of fn stays reachable. A retry that was refused its further run returns
// the refusal.
func (c *call) clause3(hedged bool) string {
	if !c.returned || c.err == nil || len(c.runs) == 0 || errors.Is(c.err, thole.ErrRejected) || c.injected() || c.open > 0 {
		return ""
	}
	for _, r := range c.runs {
		if hedged && (r.deed == ignoreAndFail || r.deed == ignoreAndSucceed) {
			return "" // a hedge does not wait for it, and so may not know its error
		}
	}
	var e *runError
	if !errors.As(c.err, &e) || e.call != c.id {
		return "clause 3: no run's error is in what Do returned"
	}
	return ""
}

// clause4: what did not run was rejected, and a context that was done is left alone.
func (c *call) clause4(bool) string {
	switch {
	case c.doneOnEntry && (len(c.runs) > 0 || !c.returned || c.err != c.ctx.Err()):
		return "clause 4: a context that was done already"
	case c.doneOnEntry || len(c.runs) > 0 || !c.returned:
	case !errors.Is(c.err, thole.ErrRejected) && !c.injected():
		return "clause 4: fn never ran, and the error does not match ErrRejected"
	}
	return ""
}

// clause5: the context descends from the caller's.
func (c *call) clause5(bool) string {
	for i, r := range c.runs {
		if r.ctxLost {
			return fmt.Sprintf("clause 5: run %d did not get the caller's values", i)
		}
	}
	return ""
}

// clause6: runs do not overlap, and all have returned before Do does.
func (c *call) clause6(hedged bool) string {
	for i, r := range c.runs {
		// A hedge's loser may be just about to run fn when the winner's result is there.
		if r.late && (!hedged || r.start > c.left) {
			return fmt.Sprintf("clause 6: run %d began after Do had ended", i)
		}
		if !hedged && (!r.ended || r.end > c.left) {
			return fmt.Sprintf("clause 6: run %d ended after Do had", i)
		}
	}
	if !hedged && (c.most > 1 || c.open > 0) {
		return fmt.Sprintf("clause 6: %d runs at the same time, %d when Do ended", c.most, c.open)
	}
	return ""
}

// clause7: a panic or Goexit is never retried and goes on up.
func (c *call) clause7(hedged bool) string {
	for i, r := range c.runs {
		if r.deed != panics && r.deed != goexit || r.err != errAborted || hedged {
			continue
		}
		if i < len(c.runs)-1 {
			return fmt.Sprintf("clause 7: run %d did not return and was retried", i)
		}
		if c.returned {
			return fmt.Sprintf("clause 7: run %d did not return, and Do did", i)
		}
		if e, _ := c.panicked.(*runError); (r.deed == panics) != (e != nil) || e != nil && e.run != i {
			return fmt.Sprintf("clause 7: run %d ended in a %v, Do in %v", i, r.deed, c.panicked)
		}
	}
	if !c.returned {
		for _, r := range c.runs {
			if r.ended && r.err == errAborted {
				return ""
			}
		}
		return "clause 7: Do did not return, though every run did"
	}
	return ""
}

// repeats: nothing follows a success, an answer or a permanent failure.
func (c *call) repeats(hedged bool) string {
	for i, r := range c.runs {
		if !hedged && i < len(c.runs)-1 && (thole.OutcomeOf(context.Background(), r.err) == thole.Success || thole.IsPermanent(r.err)) {
			return fmt.Sprintf("run %d ended with %v and was repeated", i, r.err)
		}
	}
	return ""
}

// deadline: where every run heeds its context nothing goes on beyond the caller's deadline, but
// for the half millisecond that a hedge waits for an answer just then.
func (c *call) deadline(bool) string {
	until, ok := c.ctx.Deadline()
	if !ok || c.doneOnEntry {
		return ""
	}
	for _, r := range c.runs {
		if r.deed == ignoreAndFail || r.deed == ignoreAndSucceed {
			return ""
		}
	}
	if late := c.left - until.Sub(c.base); late > 2*ms {
		return fmt.Sprintf("Do ended %v after the deadline", time.Duration(late))
	}
	return ""
}
