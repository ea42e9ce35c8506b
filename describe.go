package thole

import "time"

// Description is what a policy says of itself, for [Explain], [Lint], [Chain] and debug
// pages. A policy of your own gives one by a method Describe() Description; all fields but
// Kind are optional.
type Description struct {
	Kind     string    // what it is: "breaker", "retry"
	Name     string    // which one it is: "payments"
	Settings []Setting // the configuration in force, defaults filled in, in the order of the docs
	Inner    []Policy  // the policies it is made of, outermost first

	// What bounds a call.
	Limit   time.Duration // longest time that what is inside may take; 0 = no bound
	MaxWait time.Duration // longest time a call may wait before fn runs; 0 = none, negative = as long as ctx allows
	Runs    int           // how often it runs fn at the most; 0 = 1, negative = no bound
	Pauses  time.Duration // longest sum of the pauses between the runs; of runs without a bound, or side by side, the longest time until the last begins; math.MaxInt64 = no bound
	Delay   time.Duration // for a hedge: the least time before another attempt starts

	Window time.Duration // for a policy that judges recent calls: how far back it looks
	Keyed  bool          // there is one of it for each key
	Shared bool          // keyed, and yet several keys have the very same policy
	Once   bool          // marks what is inside with Once

	// Targets are destinations (see TargetFrom) a policy that is not keyed has met: two are
	// enough to tell that it mixes them up.
	Targets []string

	// Blocking means that the policy keeps clause 6 of the contract without exception: once
	// Do has returned it never runs fn again, and no run goes on. A Chain then reuses its
	// call frames. A wrong promise here runs another call's fn; leave it false if in doubt.
	Blocking bool
}

// Setting is one line of a policy's configuration.
type Setting struct{ Key, Value string }

// String returns the kind, with the name in brackets if there is one: "breaker[payments]".
func (d Description) String() string {
	if d.Name == "" {
		return d.Kind
	}
	return d.Kind + "[" + d.Name + "]"
}

// describer is the method by which a policy describes itself.
type describer interface{ Describe() Description }

// describe returns p's description of itself; of a policy that gives none, its type.
func describe(p Policy) Description {
	if d, ok := p.(describer); ok {
		return d.Describe()
	}
	return Description{Kind: nameOf(p)}
}

// Blocking reports whether p promises, by its Description, that runs do not overlap and that none
// outlives its Do. A type that embeds a policy inherits the promise, but may have a Do that does not
// keep it, and is not taken at its word. A nil p is no policy, and keeps it.
func Blocking(p Policy) bool { return p == nil || !embeds(p) && describe(p).Blocking }
