package breaker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/breaker"
)

// Where the open time is over and nobody has looked, Reset and Isolate tell of the half-open
// state that they end.
func TestBreaker_rule16_resetAndIsolateTellOfAnOpenTimeThatIsOver(t *testing.T) {
	for name, do := range map[string]func(*breaker.Breaker){
		"closed": (*breaker.Breaker).Reset,
		"open":   func(b *breaker.Breaker) { b.Isolate(time.Hour) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var told []string
			b := breaker.New(breaker.Config{OnStateChange: func(from, to breaker.State) {
				told = append(told, fmt.Sprint(from, " to ", to))
			}})
			b.Isolate(time.Second)
			time.Sleep(2 * time.Second)
			do(b)
			require.Equal(t, []string{"closed to open", "open to half-open", "half-open to " + name}, told)
		})
	}
}
