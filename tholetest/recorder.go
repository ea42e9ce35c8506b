package tholetest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A Recorder keeps what hooks were told. The zero Recorder is ready for use; it is safe for
// concurrent use.
//
//	var rec tholetest.Recorder
//	cfg := breaker.Config{ConsecutiveFailures: 3}
//	rec.Hook("OnStateChange", &cfg.OnStateChange)
//	b := breaker.New(cfg)
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// An Event is one call of a hook.
type Event struct {
	Hook string
	Args []any // without contexts
	At   time.Time
}

// String returns "OnStateChange(closed, open)".
func (e Event) String() string {
	args := make([]string, len(e.Args))
	for i, a := range e.Args {
		args[i] = fmt.Sprint(a)
	}
	return e.Hook + "(" + strings.Join(args, ", ") + ")"
}

// Record notes an event by hand.
func (r *Recorder) Record(hook string, args ...any) {
	e := Event{Hook: hook, Args: args, At: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Hook puts a function into the variable that field points to, usually a Config's field,
// which records each call under name. A function that was there before is called after that,
// and its results are returned. It panics if field does not point to a function, or if that
// has results and none was there to give them.
func (r *Recorder) Hook(name string, field any) {
	v := reflect.ValueOf(field)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Func {
		panic(fmt.Sprintf("tholetest: Recorder.Hook: field is a %T: want a pointer to a function", field))
	}
	v = v.Elem()
	before := reflect.ValueOf(v.Interface()) // a copy of what is there now
	if before.IsNil() && v.Type().NumOut() > 0 {
		panic(fmt.Sprintf("tholetest: Recorder.Hook: %s is nil, and returns something: set it first", v.Type()))
	}
	v.Set(reflect.MakeFunc(v.Type(), func(in []reflect.Value) []reflect.Value {
		args := make([]any, 0, len(in))
		for _, a := range in {
			if _, isCtx := a.Interface().(context.Context); !isCtx {
				args = append(args, a.Interface())
			}
		}
		r.Record(name, args...)
		switch {
		case before.IsNil():
			return nil
		case before.Type().IsVariadic():
			return before.CallSlice(in)
		}
		return before.Call(in)
	}))
}

// Events returns what was recorded, in order.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.events...)
}

// Count returns how many events of a hook there are.
func (r *Recorder) Count(hook string) int {
	n := 0
	for _, e := range r.Events() {
		if e.Hook == hook {
			n++
		}
	}
	return n
}

// String lists the events, one a line.
func (r *Recorder) String() string {
	var s strings.Builder
	for _, e := range r.Events() {
		s.WriteString(e.String())
		s.WriteByte('\n')
	}
	return s.String()
}

// Reset forgets all events.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}
