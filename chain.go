package thole

import "fmt"

// nameOf returns how a policy prints: its String, or its type.
func nameOf(p Policy) string {
	if s, ok := p.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", p)
}
