package breaker

import "sync/atomic"

// targets remembers the first two destinations that failed, if calls name theirs: two in one
// breaker is a mistake that thole.Lint tells of. Only failures look, so that successes need
// not.
type targets struct{ first, second atomic.Pointer[string] }

func (t *targets) note(target string) {
	if target == "" || t.second.Load() != nil {
		return
	}
	first := t.first.Load()
	if first == nil {
		seen := target // a copy, so that only a new one costs an allocation
		if t.first.CompareAndSwap(nil, &seen) {
			return
		}
		first = t.first.Load()
	}
	if *first != target {
		seen := target
		t.second.CompareAndSwap(nil, &seen)
	}
}

func (t *targets) seen() (seen []string) {
	for _, p := range []*atomic.Pointer[string]{&t.first, &t.second} {
		if target := p.Load(); target != nil {
			seen = append(seen, *target)
		}
	}
	return seen
}
