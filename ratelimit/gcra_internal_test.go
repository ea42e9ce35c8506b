package ratelimit

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rat returns how many tokens a bucket lacks at now.
func (m *meter) rat(i instant, now int64) *big.Rat {
	ns := new(big.Rat).Add(new(big.Rat).SetInt64(i.ns-now), big.NewRat(i.frac, m.count))
	return ns.Mul(ns, big.NewRat(m.count, m.token))
}

// A change of the rate keeps the tokens, and rounds against the caller by less than a unit.
func TestMeter_convertKeepsTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() meter {
		per := 1 + rng.Int64N(int64(time.Hour))
		return newMeter(Per(int(1+rng.Int64N(per)), time.Duration(per)), 1+rng.IntN(1000))
	}
	for range 5000 {
		from, to, now := random(), random(), rng.Int64N(math.MaxInt64/4)
		debt, _ := from.cost(rng.IntN(from.burst + 1))
		debt = instant{debt.ns, rng.Int64N(from.count)}
		before := from.rat(from.add(instant{ns: now}, debt), now)
		after := to.rat(from.convert(from.add(instant{ns: now}, debt), now, &to), now)

		before.Add(before, new(big.Rat).SetInt64(int64(to.burst-from.burst)))
		if before.Sign() < 0 {
			before.SetInt64(0)
		}
		diff := new(big.Rat).Sub(after, before)
		require.GreaterOrEqual(t, diff.Sign(), 0, "tokens from nowhere")
		require.Negative(t, diff.Cmp(big.NewRat(1, to.token)), "more than a unit is lost")
	}
}

func TestMeter_noOverflow(t *testing.T) {
	m := newMeter(Per(1, math.MaxInt64/2), 1)
	_, ok := m.cost(math.MaxInt)
	assert.False(t, ok)
	end := instant{ns: math.MaxInt64}
	assert.Equal(t, end, m.add(instant{ns: math.MaxInt64 - 1}, instant{ns: 2}))
	third := newMeter(Per(3, time.Second), 1)
	assert.Equal(t, end, third.add(instant{math.MaxInt64, 2}, instant{0, 2}))
	assert.EqualValues(t, math.MaxInt64, instant{math.MaxInt64, 1}.ceil())
}
