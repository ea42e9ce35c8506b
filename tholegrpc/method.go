package tholegrpc

import (
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/thole-go/thole"
)

// notes is what an interceptor knows of a method on a target, found out once.
type notes struct {
	dial, method string
	exempt       bool
	idempotent   bool           // by its proto option
	many, once   thole.CallInfo // what policies are told, if the call may be repeated or not
	checked      atomic.Bool    // for a retry policy of gRPC's own
}

// context returns the context that policies get for a call of the method.
func (n *notes) context(ctx context.Context, once bool) thole.CallContext {
	if once {
		return thole.CallContext{Context: ctx, Info: &n.once}
	}
	return thole.CallContext{Context: ctx, Info: &n.many}
}

// notebook holds the notes. Most calls are of a method that has been called before, often
// the one just before.
type notebook struct {
	cfg   *config
	last  atomic.Pointer[notes]
	all   atomic.Pointer[map[noteKey]*notes]
	write sync.Mutex
}

type noteKey struct{ dial, method string }

// maxNotes bounds what is remembered: a proxy meets any name that a client makes up.
const maxNotes = 4096

func (b *notebook) of(dial, method string) *notes {
	if n := b.last.Load(); n != nil && n.method == method && n.dial == dial {
		return n
	}
	key := noteKey{dial, method}
	if m := b.all.Load(); m != nil {
		if n := (*m)[key]; n != nil {
			b.last.Store(n)
			return n
		}
	}
	n := b.take(dial, method)
	b.write.Lock()
	defer b.write.Unlock()
	known := map[noteKey]*notes{}
	if m := b.all.Load(); m != nil {
		if other := (*m)[key]; other != nil {
			return other
		}
		if len(*m) >= maxNotes {
			return n
		}
		known = maps.Clone(*m)
	}
	known[key] = n
	b.all.Store(&known)
	return n
}

func (b *notebook) take(dial, method string) *notes {
	target := dial
	if b.cfg.target != nil {
		target = b.cfg.target(dial, method)
	}
	return &notes{
		dial: dial, method: method,
		exempt:     b.cfg.isExempt(method),
		idempotent: idempotent(method),
		many:       thole.CallInfo{Target: target},
		once:       thole.CallInfo{Target: target, Once: true},
	}
}

// idempotent reports whether the method's proto option idempotency_level is NO_SIDE_EFFECTS
// or IDEMPOTENT, as far as its file is linked into this program.
func idempotent(fullMethod string) bool {
	name := strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return false
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return false
	}
	o, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// dialTarget returns what cc was dialed with; cc may be nil in a test.
func dialTarget(cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return cc.Target()
}

var logger = grpclog.Component("tholegrpc")

// checkNative warns if gRPC itself retries the method beside policies that do: the numbers
// of attempts multiply. It is called after a call, when the resolver has told of the service
// config.
func (n *notes) checkNative(cc *grpc.ClientConn) {
	if cc == nil || n.checked.Swap(true) {
		return
	}
	if cc.GetMethodConfig(n.method).RetryPolicy != nil {
		logger.Warningf("the service config of %s has a retryPolicy for %s, and so does the interceptor: attempts multiply; "+
			"dial with grpc.WithDisableRetry, or by tholegrpc.DialOptions", n.dial, n.method)
	}
}
