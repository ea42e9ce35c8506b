package models

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole/ratelimit"
)

// bucketModel is a bucket that is filled from the beginning of time for each question.
type bucketModel struct {
	limiterModel
	period time.Duration // of one token; whole milliseconds, so that no time is between two
	burst  int
}

// keeps reports whether the bucket never runs below empty under these takings. Its level is
// counted in units of time: a token is a period's worth.
func (m *bucketModel) keeps(taken []taking) bool {
	full := time.Duration(m.burst) * m.period
	level, last := full, time.Duration(0)
	for _, t := range taken {
		level = min(full, level+t.at-last) - time.Duration(t.n)*m.period
		if level < 0 {
			return false
		}
		last = t.at
	}
	return true
}

func (m *bucketModel) firstFit(taken []taking, n int, from time.Duration) time.Duration {
	for at := from; ; at += ms {
		if m.keeps(with(taken, taking{at, n})) {
			return at
		}
	}
}

func TestModel_tokenBucket(t *testing.T) { inBubble(t, bucketLife) }

func bucketLife(rt *rapid.T) {
	m := &bucketModel{period: millis(rt, 1, 12, "period"), burst: rapid.IntRange(1, 5).Draw(rt, "burst")}
	m.first = m.firstFit
	b := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, m.period), Burst: m.burst})
	type promise struct {
		taking
		r *ratelimit.Reservation
	}
	var promises []promise
	actions, end := lifeOfLimiter(b, &m.limiterModel, m.burst)
	defer end()
	actions["reserve"] = func(rt *rapid.T) {
		n := rapid.IntRange(1, m.burst).Draw(rt, "n")
		p := promise{taking{m.behind(n), n}, b.Reserve(n)}
		m.taken = with(m.taken, p.taking)
		promises = append(promises, p)
	}
	actions["cancel"] = func(rt *rapid.T) {
		if len(promises) == 0 {
			return
		}
		i := rapid.IntRange(0, len(promises)-1).Draw(rt, "which")
		p := promises[i]
		equal(rt, max(0, p.at-m.now), p.r.Delay(), "delay of a reservation")
		if p.at <= m.now {
			return // what then comes back depends on what refill has replaced
		}
		promises = append(promises[:i:i], promises[i+1:]...)
		for j, t := range m.taken {
			if t == p.taking {
				m.taken = append(m.taken[:j:j], m.taken[j+1:]...)
				break
			}
		}
		p.r.Cancel()
		p.r.Cancel() // twice is harmless
		m.advance(0)
	}
	actions["forget"] = func(*rapid.T) {
		// The past beyond a full bucket has no say any more.
		horizon := m.now - time.Duration(2*m.burst+1)*m.period
		for len(m.taken) > 0 && m.taken[0].at < horizon && len(m.taken) > 40 {
			m.taken = m.taken[1:]
		}
	}
	rt.Repeat(actions)
	if len(m.line) == 0 {
		time.Sleep(24 * time.Hour)
		if s := b.Stats(); s.Available != m.burst {
			rt.Fatalf("%d of %d tokens after a day", s.Available, m.burst)
		}
	}
}
