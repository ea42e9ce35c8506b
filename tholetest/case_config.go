package tholetest

import (
	"fmt"
	"strings"

	"github.com/thole-go/thole"
)

const whyCopied = "a slice or map is often built once and changed for the next policy; one that reaches inside changes this one too, without Validate and without a lock."

var configCases = []testCase{
	{clause: 9, name: "description_is_a_copy", check: descriptionIsACopy, why: whyCopied},
	{clause: 9, name: "config_is_copied", check: configIsCopied, why: whyCopied, change: true},
}

type describer interface{ Describe() thole.Description }

func descriptionIsACopy(k *kit) {
	p := k.newPolicy()
	d, ok := p.(describer)
	if !ok {
		return
	}
	before := portrait(p)
	given := d.Describe()
	for i := range given.Settings {
		given.Settings[i] = thole.Setting{Key: "changed", Value: "changed"}
	}
	for i := range given.Inner {
		given.Inner[i] = changed
	}
	for i := range given.Targets {
		given.Targets[i] = "changed"
	}
	if after := portrait(p); after != before {
		k.failf("what Describe returns is part of the policy: changed by its receiver, it reads\n%s\nand was\n%s", after, before)
	}
	if r := k.succeed(p); !r.ran() {
		k.failf("after what Describe returned was changed by its receiver, the policy runs nothing: Do %v", r)
	}
}

var changed = thole.Chain()

// portrait is all that a policy says of itself.
func portrait(p thole.Policy) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%v", nameOf(p))
	if d, ok := p.(describer); ok {
		d := d.Describe()
		inner := d.Inner
		d.Inner = nil
		type plain thole.Description // without its String
		fmt.Fprintf(&s, " %+v", plain(d))
		for _, in := range inner {
			s.WriteString("; " + portrait(in))
		}
	}
	return s.String()
}

func nameOf(p thole.Policy) string {
	if s, ok := p.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", p)
}

func configIsCopied(k *kit) {
	untouched, _ := k.change()
	p, change := k.change()
	change()
	if a, b := portrait(p), portrait(untouched); a != b {
		k.failf("a change to the configuration after the policy was made has reached it: it says\n%s\nand without the change\n%s", a, b)
	}
	for range 10 {
		a, b := k.succeed(p), k.succeed(untouched)
		if a.ran() != b.ran() || a.String() != b.String() {
			k.failf("a change to the configuration after the policy was made has reached it: Do %v, and without the change it %v", a, b)
		}
	}
}
