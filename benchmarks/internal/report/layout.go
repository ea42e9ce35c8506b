package report

import (
	"fmt"
	"strconv"
)

// layout tells what it saves or costs to give a word that every call touches a cache line of its
// own, or to have several of it.
func (p *page) layout() {
	p.grid("Layout", "## Padding and sharding", "a word that every call touches",
		"ns of wall time per call, of so many goroutines on two processors. *Plain* lies beside a setting\n"+
			"that every call reads; *padded*, in a cache line of its own; and so does each of eight *shards*. A\n"+
			"shard is chosen *by lot*, at each call, or by the address of the goroutine's *stack*.")
	if p.layoutOf("counter, plain", 2) == nil {
		return
	}
	p.say("- A **counter** of two goroutines: padding it %s, sharding it by the stack %s, by lot %s.", p.counter("padded", 2),
		p.counter("8 shards by stack", 2), p.counter("8 shards by lot", 2))
	p.say("  Of one: padding it %s, sharding it by the stack %s, by lot %s.%s", p.counter("padded", 1),
		p.counter("8 shards by stack", 1), p.counter("8 shards by lot", 1), p.picks())
	p.say("- A **state** that must be exact, a bulkhead's or a token bucket's, can't be sharded: one shard would refuse")
	p.say("  a call while another has permits left. Of two goroutines: padding it %s.", p.change("exact state, padded", "exact state, plain", 2))
	p.say("- Its **neighbour**, which is only read: while another goroutine writes the word, padding that %s for the reader.",
		p.change("read, the word padded", "read beside a written word", 2))
	p.say("")
}

func (p *page) layoutOf(name string, goroutines int) *Row {
	return p.r.Find("Layout", name+"/"+strconv.Itoa(goroutines), 2)
}

func (p *page) counter(layout string, goroutines int) string {
	return p.change("counter, "+layout, "counter, plain", goroutines)
}

// change says in words how one layout's cost differs from another's. Less than a tenth is no
// difference here: processes that differ in nothing differ by that.
func (p *page) change(name, from string, goroutines int) string {
	row, base := p.layoutOf(name, goroutines), p.layoutOf(from, goroutines)
	if row == nil || base == nil {
		return "was not measured"
	}
	switch ratio := row.over(base).mid; {
	case ratio <= 0.9:
		return fmt.Sprintf("saves %.0f %%", 100*(1-ratio))
	case ratio >= 1.1:
		return fmt.Sprintf("costs %.0f %% more", 100*(ratio-1))
	default:
		return "changes less than a tenth"
	}
}

// picks says what it costs to choose a shard.
func (p *page) picks() string {
	lot, stack := p.layoutOf("pick by lot alone", 1), p.layoutOf("pick by stack alone", 1)
	if lot == nil || stack == nil {
		return ""
	}
	return fmt.Sprintf(" Choosing the shard alone costs %s ns by the stack, %s ns by lot.", figure(stack.NS()), figure(lot.NS()))
}

// warnOfOneProcessor says so if what the run shows of two threads is not what two processors show.
func (p *page) warnOfOneProcessor() {
	if ratio := p.twoOverOne("clock"); ratio > 0.75 {
		p.say("In this run two threads took %s the time of one to read the clock, for which they share nothing,", times(ratio))
		p.say("and not half of it: they did not have two processors to themselves, and what they cost each other shows too little.\n")
		return
	}
	if ratio := p.twoOverOne("atomic add"); ratio > 0 && ratio < 1.3 {
		p.say("In this run two threads on one word took %s the time of one, and not twice as long or more: the two", times(ratio))
		p.say("processors shared a core and its cache, and on two cores a shared word costs more.\n")
	}
}

// twoOverOne returns how much longer a part of the floor takes if two threads do it, 0 if that
// was not measured.
func (p *page) twoOverOne(floor string) float64 {
	one, two := p.r.Find("ParallelFloor", floor, 1), p.r.Find("ParallelFloor", floor, 2)
	if one == nil || two == nil {
		return 0
	}
	return two.over(one).mid
}
