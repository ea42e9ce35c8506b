// Package chaos injects faults into calls on purpose: errors, latency, panics and
// rejections, at the rates you say, so that you see what your policies, fallbacks and alarms
// do before a bad day shows you.
//
//	c := chaos.New(chaos.Config{
//		Name:   "payments",
//		Faults: chaos.Faults{ErrorRatio: 0.1, DelayRatio: 0.05, Delay: 2 * time.Second},
//	})
//	p := thole.Chain(retry.New(retry.Config{}), b, c) // innermost: chaos plays the destination
//	c.Enable(10 * time.Minute)                        // nothing is injected before, nor after
//
// # Off until enabled
//
// No configuration switches a [Chaos] on: New makes it disabled, and only a call of
// [Chaos.Enable] changes that, best with a time after which it ends by itself. While it is
// on, thole.Explain says ENABLED on its line, with what is left of the time, and so does
// every debug page made of Describe. Off, it costs a load.
//
// # What is injected
//
// At most one of a rejection, an error and a panic, and, independently of these, a delay
// before whatever follows. An injected rejection is what a policy further in would give: it
// matches thole.ErrRejected, with the reason "chaos". An injected error stands for one of the
// destination: it wraps [Faults.Err], matches [ErrInjected], and breakers count it as the
// failure it plays. An injected panic stands for one in fn. An injected delay obeys the
// context, as a slow destination would that is well written: a time limit that it exceeds is a
// timeout to breakers and retries.
//
// In this one point the package steps outside the contract of a thole.Policy, as it must: fn
// is not run when an error or panic is injected in its place, or when a delay outlasts the
// context, and the error does not say so. With rejections alone the contract holds to the letter.
//
// # The same again
//
// What happens to the n-th call is a function of Seed, the call's key and n alone. A run can
// therefore be repeated: Describe names the seed in force, also where it was chosen at
// random. Calls side by side are numbered in the order in which they come.
//
// # Per key
//
// With [Config.Key] and [Config.Keys], each key has faults of its own: one tenant, one
// method, one target (thole.TargetFrom is such a function). The calls of each key that Keys
// lists are numbered separately, so what happens to them does not depend on other keys'
// calls.
package chaos
