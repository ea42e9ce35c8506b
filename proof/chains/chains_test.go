package chains

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole"
)

func TestChains_everyOneKeepsTheContract(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { inBubble(t, rt) })
}

func FuzzChain(f *testing.F) {
	// A life takes some kilobytes of data; a fuzzer would be long in finding that out.
	for seed := range byte(24) {
		data := make([]byte, 16<<10)
		rand.NewChaCha8([32]byte{seed}).Read(data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { inBubble(t, rt) })(t, data)
	})
}

// inBubble lives one life in a bubble, which must be left without a goroutine. A panic must
// not cross its edge, and is raised again outside; on different lines, since rapid tells
// failures apart by where they were raised.
func inBubble(t *testing.T, rt *rapid.T) {
	var raised any
	synctest.Test(t, func(*testing.T) {
		defer func() { raised = recover() }()
		live(rt)
	})
	switch {
	case raised == nil:
	case fmt.Sprintf("%T", raised) == "rapid.invalidData":
		panic(raised)
	default:
		panic(raised)
	}
}

// plan is a call as drawn.
type plan struct {
	*call
	after, cancelAfter, timeout, bodyFor time.Duration
	withLifetime                         bool
}

func draw(b *builder, id int) plan {
	p := plan{call: &call{id: id}}
	for range b.int(1, 4, "parts") {
		p.script = append(p.script, part{deed(b.int(0, int(deeds)-1, "deed")), b.millis(0, 40, "time")})
	}
	p.after = b.millis(0, 30, "after")
	switch b.int(0, 4, "context") {
	case 1:
		p.timeout = b.millis(1, 100, "timeout")
	case 2:
		p.cancelAfter = b.millis(1, 60, "cancelled after")
	case 3:
		p.cancelAfter = -1 // before the call
	}
	if b.int(0, 2, "lifetime") == 0 {
		p.withLifetime, p.bodyFor = true, b.millis(0, 20, "body")
	}
	return p
}

// atLast bounds every call's time, for those scripts that hang under a context without an end.
const atLast = 10 * time.Second

func live(rt *rapid.T) {
	b := &builder{rt: rt}
	p := b.chain(0)
	var plans []plan
	for id := range b.int(1, maxCalls, "calls") {
		plans = append(plans, draw(b, id))
	}
	base := time.Now()
	var wg sync.WaitGroup
	for _, c := range plans {
		c.base = base
		wg.Go(func() { c.begin(p) })
	}
	wg.Wait()
	time.Sleep(time.Hour) // hedges' losers end, breakers come to rest, tokens come back
	synctest.Wait()

	for _, c := range plans {
		if s := c.verdict(b.hedged); s != "" {
			rt.Fatalf("%v\ncall %d: %s\n%s", p, c.id, s, c.tell())
		}
	}
	for _, missing := range b.whole {
		if s := missing(); s != "" {
			rt.Fatalf("%v: afterwards %s", p, s)
		}
	}
	for _, faults := range b.chaos {
		faults.Disable()
	}
	for id := range maxCalls {
		ctx := context.WithValue(context.Background(), callKey{}, &call{id: maxCalls + id})
		if v, err := thole.Do(ctx, p, func(context.Context) (int, error) { return 42, nil }); v != 42 || err != nil {
			rt.Fatalf("%v: afterwards call %d, which succeeds, yields %v, %v", p, id, v, err)
		}
		time.Sleep(time.Second)
	}
}

func (c plan) begin(p thole.Policy) {
	time.Sleep(c.after)
	limit := c.timeout
	if limit == 0 {
		limit = atLast
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if c.timeout == 0 {
		c.ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	} else {
		c.ctx = ctx
	}
	switch {
	case c.cancelAfter < 0:
		cancel()
	case c.cancelAfter > 0:
		timer := time.AfterFunc(c.cancelAfter, cancel)
		defer timer.Stop()
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.make(p, c.withLifetime, c.bodyFor) }) // its goroutine may be ended by fn
	wg.Wait()
}

// tell says all about a call.
func (c *call) tell() string {
	s := fmt.Sprintf("entered at %v, left at %v, returned=%v value=%d err=%v panic=%v\n", c.entered, c.left, c.returned, c.value, c.err, c.panicked)
	for i, r := range c.runs {
		s += fmt.Sprintf("run %d: %v %v, from %v to %v, ended=%v: %v\n", i, r.deed, r.time, r.start, r.end, r.ended, r.err)
	}
	return s
}
