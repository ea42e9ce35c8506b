package tholetest

// Except leaves cases out, by name, for policies that are known not to pass them.
func Except(names ...string) Option {
	return func(o *options) { o.except = append(o.except, names...) }
}
