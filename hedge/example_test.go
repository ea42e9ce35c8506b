package hedge_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

func Example() {
	h := hedge.New(hedge.Config{Name: "search", Delay: 10 * time.Millisecond})

	answer, err := thole.Do(context.Background(), h, func(ctx context.Context) (string, error) {
		if thole.AttemptFrom(ctx).Hedge == 0 {
			<-ctx.Done() // a straggler
			return "", ctx.Err()
		}
		return "from the second attempt", nil
	})
	fmt.Println(answer, err)
	// Output: from the second attempt <nil>
}

// A call that has effects is marked with Once, and never hedged.
func ExampleHedge_Do_once() {
	h := hedge.New(hedge.Config{Delay: time.Millisecond})

	err := h.Do(thole.Once(context.Background()), func(context.Context) error {
		time.Sleep(20 * time.Millisecond)
		return nil
	})
	fmt.Println(err, h.Stats().Hedges)
	// Output: <nil> 0
}

func ExampleError() {
	h := hedge.New(hedge.Config{Name: "search", Delay: time.Millisecond})

	second := make(chan struct{})
	err := h.Do(context.Background(), func(ctx context.Context) error {
		if thole.AttemptFrom(ctx).Hedge == 0 {
			<-second // takes long enough to be hedged
			return errors.New("no route")
		}
		close(second)
		return errors.New("connection reset")
	})
	fmt.Println(err)
	var e *hedge.Error
	fmt.Println(errors.As(err, &e), e.Err)
	// Output:
	// hedge[search]: all 2 attempts failed: no route; connection reset
	// true no route
}

// One budget for all that adds load to a destination.
func ExampleConfig_budget() {
	budget := thole.NewBudget(thole.BudgetConfig{Ratio: 0.1})
	fmt.Println(
		hedge.New(hedge.Config{Name: "search", Budget: budget}),
		hedge.New(hedge.Config{Name: "suggest", Budget: budget}),
	)
	// Output: hedge[search] hedge[suggest]
}

func ExampleHedge_Stats() {
	h := hedge.New(hedge.Config{Quantile: 0.9, Delay: 5 * time.Millisecond})
	_ = h.Do(context.Background(), func(context.Context) error { return nil })
	fmt.Printf("%+v\n", h.Stats())
	// Output: {Calls:1 Hedges:0 HedgeWins:0 Refused:0 LoserPanics:0 Delay:5ms}
}

func ExampleHedge_Reconfigure() {
	h := hedge.New(hedge.Config{Delay: 5 * time.Millisecond})
	fmt.Println(h.Reconfigure(hedge.Config{Quantile: 2}))
	fmt.Println(h.Stats().Delay)
	// Output:
	// hedge: Quantile is 2: want 0 (0.95 if Delay is 0 too, else none) to 0.999
	// 5ms
}
