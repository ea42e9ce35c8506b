package tholetest

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

const whyHook = "a hook is other people's code: it logs, counts, looks at the policy it was called by, and sometimes blocks or panics. Called under a lock, it stops every call of the policy."

var hookCases = []testCase{
	{clause: 8, name: "hook_calls_back", check: hookCallsBack, why: whyHook, hooks: true},
	{clause: 8, name: "hook_blocks_nobody", check: hookBlocksNobody, why: whyHook, hooks: true},
	{clause: 8, name: "hook_panics", check: hookPanics, why: whyHook, hooks: true},
}

// occasions gives hooks something to hear of: failures, a rest, successes.
func (k *kit) occasions(p thole.Policy) {
	for range 200 {
		k.mustReturn(k.call(context.Background(), p, func(context.Context) error { return &flaw{"fails"} }))
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Hour)
	for range 20 {
		k.mustReturn(k.succeed(p))
		time.Sleep(time.Minute)
	}
}

func (k *kit) mustReturn(r result) {
	if r.hung {
		k.failf("a call did not return, after a hook was called")
	}
}

func hookCallsBack(k *kit) {
	var p thole.Policy
	var calls atomic.Int64
	var within atomic.Bool
	p = k.hooks(func() {
		calls.Add(1)
		if !within.CompareAndSwap(false, true) {
			return // called by what the hook did
		}
		defer within.Store(false)
		lookAt(p)
		_ = p.Do(context.Background(), func(context.Context) error { return nil })
	})
	k.occasions(p)
	if calls.Load() == 0 {
		k.failf("no hook was called by 200 calls that failed, nor by those after them: the case has shown nothing")
	}
}

// lookAt calls what a policy has to look at it.
func lookAt(p thole.Policy) {
	_ = nameOf(p)
	v := reflect.ValueOf(p)
	for _, name := range []string{"Stats", "State", "Describe", "String", "InUse"} {
		if m := v.MethodByName(name); m.IsValid() && m.Type().NumIn() == 0 {
			m.Call(nil)
		}
	}
}

func hookBlocksNobody(k *kit) {
	const blocked = 24 * time.Hour
	var p thole.Policy
	var called atomic.Bool
	var others sync.WaitGroup
	p = k.hooks(func() {
		if !called.CompareAndSwap(false, true) {
			return
		}
		others.Go(func() {
			lookAt(p)
			if r := k.succeed(p); r.hung || r.took >= blocked/2 {
				k.failf("while a hook was blocked another call of the policy took %v", r.took)
			}
		})
		time.Sleep(blocked)
	})
	k.occasions(p)
	others.Wait()
}

func hookPanics(k *kit) {
	var calls atomic.Int64
	p := k.hooks(func() {
		if calls.Add(1) <= 3 {
			panic(&flaw{"a hook panics"})
		}
	})
	k.occasions(p)
	k.usable(p, "a hook panicked")
}
