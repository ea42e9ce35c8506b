package breaker

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// reference is the breaker as one would write it if time and memory were free: it keeps every
// event there ever was and counts them anew for each decision.
type reference struct {
	cfg    Config
	jitter *rand.Rand

	state             State
	generation        int
	until             time.Duration
	failedRecoveries  int
	closedAt          time.Duration
	ramp              bool
	offered           uint64
	row, probesInARow int
	settled           []settledCall
	calls             map[int]*refCall
	events            []change
	nextID            int
}

type settledCall struct {
	at           time.Duration
	failed, slow bool
}

type refCall struct {
	start, expires time.Duration
	generation     int
	probe          bool
	knownSlow      bool
}

func (r *reference) to(s State) {
	if s != r.state {
		r.events = append(r.events, change{r.state, s})
	}
	r.state = s
	r.generation++
	r.ramp = false
	r.row, r.probesInARow, r.offered = 0, 0, 0
	r.settled = nil
}

func (r *reference) open(now time.Duration) {
	r.to(Open)
	d := r.cfg.OpenFor
	for range r.failedRecoveries {
		d = min(2*d, r.cfg.MaxOpenFor)
	}
	d -= time.Duration(r.jitter.Float64() * float64(d) / 10)
	r.until = now + d
}

func (r *reference) trip(now time.Duration) {
	if r.ramp && now < r.closedAt+r.cfg.RampUp {
		r.failedRecoveries++
	} else {
		r.failedRecoveries = 0
	}
	r.open(now)
}

func (r *reference) tick(now time.Duration) {
	if r.state == Open && now >= r.until {
		r.to(HalfOpen)
	}
}

// flyingSlow returns the slow calls in flight, and how many are so since it was asked last.
func (r *reference) flyingSlow(now time.Duration) (all, fresh int) {
	for _, c := range r.calls {
		if r.cfg.SlowCall > 0 && c.generation == r.generation && !c.probe && now-c.start > r.cfg.SlowCall {
			all++
			if !c.knownSlow {
				c.knownSlow = true
				fresh++
			}
		}
	}
	return all, fresh
}

func (r *reference) part(t time.Duration) int64 { return int64(t) / (int64(r.cfg.Window) / 32) }

func (r *reference) judge(now time.Duration) {
	flying, _ := r.flyingSlow(now)
	var counted []settledCall
	for _, c := range r.settled {
		if r.cfg.WindowCalls > 0 || r.part(c.at) > r.part(now)-32 {
			counted = append(counted, c)
		}
	}
	if n := r.cfg.WindowCalls; n > 0 {
		counted = counted[max(0, len(counted)-n):]
	}
	failures := 0
	for _, c := range counted {
		if c.failed {
			failures++
		}
	}
	trips := r.cfg.ConsecutiveFailures > 0 && r.row >= r.cfg.ConsecutiveFailures
	if r.cfg.FailureRatio > 0 && len(counted) >= r.cfg.MinCalls && float64(failures)/float64(len(counted)) >= r.cfg.FailureRatio {
		trips = true
	}
	if r.cfg.SlowCall > 0 {
		all := counted
		for range flying {
			all = append(all, settledCall{slow: true})
		}
		if n := r.cfg.WindowCalls; n > 0 {
			all = all[max(0, len(all)-n):]
		}
		slow := 0
		for _, c := range all {
			if c.slow {
				slow++
			}
		}
		if len(all) >= r.cfg.MinCalls && float64(slow)/float64(len(all)) >= r.cfg.SlowRatio {
			trips = true
		}
	}
	if trips {
		r.trip(now)
	}
}

func (r *reference) look(now time.Duration) {
	r.tick(now)
	if _, fresh := r.flyingSlow(now); r.state == Closed && fresh > 0 {
		r.judge(now)
	}
}

func (r *reference) probesOut(now time.Duration) int {
	n := 0
	for _, c := range r.calls {
		if c.probe && c.generation == r.generation && now < c.expires {
			n++
		}
	}
	return n
}

// enter returns the call's number, or -1 if it is refused.
func (r *reference) enter(now time.Duration) int {
	r.look(now)
	c := &refCall{start: now, generation: r.generation}
	switch r.state {
	case Open:
		return -1
	case HalfOpen:
		if r.probesOut(now) >= r.cfg.Probes {
			return -1
		}
		c.probe, c.expires = true, now+r.cfg.ProbeTimeout
	case Closed:
		if r.ramp && now < r.closedAt+r.cfg.RampUp {
			r.offered++
			share := float64(now-r.closedAt) / float64(r.cfg.RampUp)
			if float64(r.offered*0x9E3779B97F4A7C15>>11)/(1<<53) >= share {
				return -1
			}
		}
	}
	r.nextID++
	r.calls[r.nextID] = c
	return r.nextID
}

func (r *reference) leave(now time.Duration, id int, o thole.Outcome) {
	c := r.calls[id]
	delete(r.calls, id)
	if c.generation != r.generation {
		return
	}
	slow := r.cfg.SlowCall > 0 && now-c.start > r.cfg.SlowCall
	if c.probe {
		if now >= c.expires {
			return
		}
		switch {
		case o == thole.Failure, o == thole.Success && slow:
			r.failedRecoveries++
			r.open(now)
		case o == thole.Success:
			if r.probesInARow++; r.probesInARow >= r.cfg.ProbeSuccesses {
				r.to(Closed)
				r.closedAt, r.ramp = now, r.cfg.RampUp > 0
				if !r.ramp {
					r.failedRecoveries = 0
				}
			}
		}
		return
	}
	switch o {
	case thole.Failure:
		r.row++
	case thole.Success:
		r.row = 0
	default:
		return
	}
	r.settled = append(r.settled, settledCall{now, o == thole.Failure, slow})
	r.judge(now)
}

func randomConfig(rng *rand.Rand) Config {
	ms := func(n int) time.Duration { return time.Duration(rng.IntN(n)+1) * time.Millisecond }
	cfg := Config{MinCalls: rng.IntN(12) + 1, OpenFor: ms(300), Probes: rng.IntN(4), ProbeSuccesses: rng.IntN(5)}
	if rng.IntN(2) == 0 {
		cfg.ConsecutiveFailures = rng.IntN(8) + 1
	}
	if rng.IntN(2) == 0 {
		cfg.FailureRatio = []float64{0.05, 0.3, 0.5, 2.0 / 3, 1}[rng.IntN(5)]
	}
	if rng.IntN(2) == 0 {
		cfg.SlowCall = ms(60)
		cfg.SlowRatio = []float64{0.2, 0.5, 1}[rng.IntN(3)]
	}
	if rng.IntN(2) == 0 {
		cfg.WindowCalls = cfg.MinCalls + rng.IntN(20)
	} else {
		cfg.Window = ms(400)
	}
	cfg.MaxOpenFor = cfg.OpenFor * time.Duration(rng.IntN(10)+1)
	if rng.IntN(2) == 0 {
		cfg.ProbeTimeout = ms(100)
	}
	if rng.IntN(3) == 0 {
		cfg.RampUp = ms(300)
	}
	return cfg
}

// The breaker and the reference are led through the same life, in virtual time, and must agree
// on every admission, every state and every event.
func TestBreaker_model_property(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 50
	}
	var total [3]int // admissions by the reference's state
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { liveOneLife(t, seed, &total) })
	}
	for s, n := range total {
		require.Positive(t, n, "no call in state %v: the lives are too tame", State(s))
	}
}

func liveOneLife(t *testing.T, seed uint64, total *[3]int) {
	rng := rand.New(rand.NewPCG(seed, 3))
	cfg := randomConfig(rng)
	var events []change
	cfg.OnStateChange = func(from, to State) { events = append(events, change{from, to}) }
	b := New(cfg)
	// The reference divides where the window multiplies by a reciprocal, which over decades is
	// off by part of a part.
	b.base = time.Now().Add(-1)
	b.m.jitter = rand.New(rand.NewPCG(seed, 4)).Float64
	r := &reference{cfg: cfg.effective(), jitter: rand.New(rand.NewPCG(seed, 4)), calls: map[int]*refCall{}}

	failing := rng.Float64()
	tickets := map[int]thole.Ticket{}
	errFail := errors.New("fail")
	ctx := context.Background()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for step := range 400 {
		now := b.now()
		switch op := rng.IntN(100); {
		case op < 45:
			total[r.state]++
			id := r.enter(now)
			ticket, err := b.Enter(ctx, nil)
			require.Equal(t, id < 0, err != nil, "seed %d step %d: admission; %+v", seed, step, cfg)
			if id >= 0 {
				tickets[id] = ticket
			}
		case op < 85:
			ids := make([]int, 0, len(tickets))
			for id := range tickets {
				ids = append(ids, id)
			}
			if len(ids) == 0 {
				continue
			}
			slices.Sort(ids)
			id := ids[rng.IntN(len(ids))]
			switch p := rng.Float64(); {
			case p < 0.1:
				r.leave(now, id, thole.Ignored)
				b.Leave(cancelled, tickets[id], context.Canceled, nil)
			case p < 0.1+0.9*failing:
				r.leave(now, id, thole.Failure)
				b.Leave(ctx, tickets[id], errFail, nil)
			default:
				r.leave(now, id, thole.Success)
				b.Leave(ctx, tickets[id], nil, nil)
			}
			delete(tickets, id)
		case op < 94:
			time.Sleep(time.Duration(rng.IntN(30)+1) * time.Millisecond)
		case op < 96:
			time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
		case op < 97:
			failing = rng.Float64()
		case op < 98 && rng.IntN(4) == 0:
			d := time.Duration(rng.IntN(200)-20) * time.Millisecond
			r.look(now)
			require.Equal(t, r.state, b.State(), "seed %d step %d: before Isolate", seed, step)
			if r.state == Closed && (!r.ramp || now >= r.closedAt+r.cfg.RampUp) {
				r.failedRecoveries = 0
			}
			r.to(Open)
			r.until = now + d
			if d <= 0 {
				r.until = forever
			}
			b.Isolate(d)
		case op < 99 && rng.IntN(4) == 0:
			r.look(now)
			require.Equal(t, r.state, b.State(), "seed %d step %d: before Reset", seed, step)
			r.to(Closed)
			r.failedRecoveries = 0
			b.Reset()
		default:
			r.look(now)
			require.Equal(t, r.state, b.State(), "seed %d step %d: state; %+v", seed, step, cfg)
		}
		require.Equal(t, r.events, events, "seed %d step %d: events; %+v", seed, step, cfg)
		if rng.IntN(5) > 0 {
			continue
		}
		if s := b.Stats(); s.State == r.state && r.state == HalfOpen {
			require.Equal(t, r.probesOut(b.now()), s.ProbesOut, "seed %d step %d: probes out", seed, step)
			require.Equal(t, r.probesInARow, s.ProbeSuccesses)
		}
		r.look(b.now()) // Stats looks
		require.Equal(t, r.events, events, "seed %d step %d: events after Stats; %+v", seed, step, cfg)
	}
}
