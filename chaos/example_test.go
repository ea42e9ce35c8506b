package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/chaos"
)

func Example() {
	c := chaos.New(chaos.Config{Name: "payments", Seed: 1, Faults: chaos.Faults{ErrorRatio: 1}})
	call := func() error {
		return c.Do(context.Background(), func(context.Context) error { return nil })
	}
	fmt.Println("made:    ", call())
	c.Enable(10 * time.Minute)
	fmt.Println("enabled: ", call())
	c.Disable()
	fmt.Println("disabled:", call())
	// Output:
	// made:     <nil>
	// enabled:  chaos[payments]: injected error
	// disabled: <nil>
}

func ExampleConfig() {
	errReset := errors.New("connection reset")
	c := chaos.New(chaos.Config{
		Key:    thole.TargetFrom,
		Faults: chaos.Faults{}, // other targets are spared
		Keys:   map[string]chaos.Faults{"ledger": {ErrorRatio: 1, Err: errReset}},
	})
	c.Enable(0)
	for _, target := range []string{"ledger", "mail"} {
		ctx := thole.WithTarget(context.Background(), target)
		err := c.Do(ctx, func(context.Context) error { return nil })
		fmt.Println(target, errors.Is(err, errReset), err)
	}
	// Output:
	// ledger true chaos: injected error for ledger: connection reset
	// mail false <nil>
}

func ExampleChaos_Describe() {
	c := chaos.New(chaos.Config{Name: "payments", Seed: 1, Faults: chaos.Faults{RejectRatio: 0.5}})
	c.Enable(0)
	fmt.Print(thole.Explain(c))
	// Output:
	// chaos[payments]
	//  1. chaos[payments]: ENABLED until disabled, Seed 1, RejectRatio 0.5, ErrorRatio 0, PanicRatio 0, DelayRatio 0
	// At worst a call takes as long as its context allows and runs fn once.
}

func ExampleError() {
	c := chaos.New(chaos.Config{Name: "payments", Faults: chaos.Faults{RejectRatio: 1}})
	c.Enable(0)
	err := c.Do(context.Background(), func(context.Context) error { return nil })
	reason, _ := thole.ReasonOf(err)
	fmt.Println(errors.Is(err, thole.ErrRejected), errors.Is(err, chaos.ErrInjected), reason)
	// Output: true true chaos
}
