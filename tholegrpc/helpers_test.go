package tholegrpc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/thole-go/thole"
)

const ms = time.Millisecond

// The service of the tests. Of its methods, Get and Put say that they are idempotent.
const (
	echo     = "/thole.test.Echo/"
	post     = echo + "Post"
	get      = echo + "Get"
	put      = echo + "Put"
	down     = echo + "Down"     // server stream
	up       = echo + "Up"       // client stream
	bidi     = echo + "Bidi"     // both
	oneShot  = echo + "OneShot"  // a unary call as a stream
	nowhere  = echo + "Nowhere"  // not implemented
	strangUn = "/no.Such/Method" // of no known service
)

var streamDescs = map[string]*grpc.StreamDesc{
	down:    {StreamName: "Down", ServerStreams: true},
	up:      {StreamName: "Up", ClientStreams: true},
	bidi:    {StreamName: "Bidi", ServerStreams: true, ClientStreams: true},
	oneShot: {StreamName: "OneShot"},
}

func TestMain(m *testing.M) {
	registerService()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, &warnings, io.Discard))
	os.Exit(m.Run())
}

// warnings are what was logged as such.
var warnings safeBuffer

type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func registerService() {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("thole/test/echo.proto"), Package: proto.String("thole.test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service:    []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Echo")}},
	}
	for name, level := range map[string]descriptorpb.MethodOptions_IdempotencyLevel{
		"Post": descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN,
		"Get":  descriptorpb.MethodOptions_NO_SIDE_EFFECTS,
		"Put":  descriptorpb.MethodOptions_IDEMPOTENT,
	} {
		file.Service[0].Method = append(file.Service[0].Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), InputType: proto.String(".google.protobuf.StringValue"),
			OutputType: proto.String(".google.protobuf.StringValue"),
			Options:    &descriptorpb.MethodOptions{IdempotencyLevel: level.Enum()},
		})
	}
	d, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(d)
	}
	if err != nil {
		panic(err)
	}
}

type (
	text    = wrapperspb.StringValue
	handler func(ctx context.Context, req *text) (*text, error)
)

func say(s string) *text { return wrapperspb.String(s) }

// service is what the server does. A nil function echoes.
type service struct {
	unary  handler
	stream func(method string, ss grpc.ServerStream) error
	calls  atomic.Int32
}

func (s *service) desc() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: "thole.test.Echo", HandlerType: (*any)(nil)}
	for _, name := range []string{"Post", "Get", "Put"} {
		method := echo + name
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, mw grpc.UnaryServerInterceptor) (any, error) {
			req := new(text)
			if err := dec(req); err != nil {
				return nil, err
			}
			serve := func(ctx context.Context, req any) (any, error) {
				s.calls.Add(1)
				if s.unary == nil {
					return req, nil
				}
				resp, err := s.unary(ctx, req.(*text))
				if err != nil {
					return nil, err
				}
				return resp, nil
			}
			if mw == nil {
				return serve(ctx, req)
			}
			return mw(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: method}, serve)
		}})
	}
	for method, sd := range streamDescs {
		sd := *sd
		sd.Handler = func(_ any, ss grpc.ServerStream) error {
			s.calls.Add(1)
			if s.stream == nil {
				return echoStream(method, ss)
			}
			return s.stream(method, ss)
		}
		d.Streams = append(d.Streams, sd)
	}
	return d
}

// echoStream answers in the shape of the method: Down repeats its request three times, Up
// joins its requests, Bidi echoes each.
func echoStream(method string, ss grpc.ServerStream) error {
	var all []string
	for {
		req := new(text)
		if err := ss.RecvMsg(req); err != nil {
			break
		}
		all = append(all, req.Value)
		if method == bidi {
			if err := ss.SendMsg(req); err != nil {
				return err
			}
		}
	}
	switch method {
	case down:
		for i := range 3 {
			if err := ss.SendMsg(say(fmt.Sprint(all[0], i))); err != nil {
				return err
			}
		}
	case up, oneShot:
		return ss.SendMsg(say(strings.Join(all, "+")))
	}
	return nil
}

// network is how client and server meet.
type network struct {
	name   string
	listen func() (net.Listener, []grpc.DialOption, string)
}

var networks = []network{
	{"bufconn", func() (net.Listener, []grpc.DialOption, string) {
		l := bufconn.Listen(1 << 20)
		dial := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })
		return l, []grpc.DialOption{dial}, "passthrough:///bufconn"
	}},
	{"tcp", func() (net.Listener, []grpc.DialOption, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		return l, nil, "passthrough:///" + l.Addr().String()
	}},
}

// overEach runs a test over each network.
func overEach(t *testing.T, test func(t *testing.T, n network)) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) { test(t, n) })
	}
}

// pair is a client and its server.
type pair struct {
	*grpc.ClientConn
	server *grpc.Server
	target string
}

func (n network) start(t *testing.T, s *service, server []grpc.ServerOption, client ...grpc.DialOption) *pair {
	t.Helper()
	l, dial, target := n.listen()
	srv := grpc.NewServer(server...)
	srv.RegisterService(s.desc(), nil)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	dial = append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
	cc, err := grpc.NewClient(target, append(dial, client...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cc.Close()
		srv.Stop()
		<-served
	})
	// Time limits in the tests are not for the handshake.
	cc.Connect()
	for state := cc.GetState(); state != connectivity.Ready; state = cc.GetState() {
		cc.WaitForStateChange(t.Context(), state)
	}
	return &pair{cc, srv, target}
}

// start is over bufconn, without server options.
func start(t *testing.T, s *service, client ...grpc.DialOption) *pair {
	return networks[0].start(t, s, nil, client...)
}

func (p *pair) call(ctx context.Context, method, req string, opts ...grpc.CallOption) (string, error) {
	reply := new(text)
	err := p.Invoke(ctx, method, say(req), reply, opts...)
	return reply.Value, err
}

// failing returns a handler that fails the first times with the errors given, nil for none.
func failing(errs ...error) handler {
	var n atomic.Int32
	return func(_ context.Context, req *text) (*text, error) {
		i := int(n.Add(1)) - 1
		if i < len(errs) && errs[i] != nil {
			return nil, errs[i]
		}
		return req, nil
	}
}

func fail(code codes.Code) error { return status.Error(code, "no: "+code.String()) }

// spy is a policy that keeps what it sees.
type spy struct {
	runs []error // what the runs returned
	ctxs []context.Context
	errs chan error
}

func newSpy() *spy { return &spy{errs: make(chan error, 100)} }

func (s *spy) Do(ctx context.Context, fn func(context.Context) error) error {
	s.ctxs = append(s.ctxs, ctx)
	err := fn(ctx)
	s.runs = append(s.runs, err)
	s.errs <- err
	return err
}

func (s *spy) Describe() thole.Description { return thole.Description{Kind: "spy", Blocking: true} }

// opaque hides what a policy says of itself.
func opaque(p thole.Policy) thole.Policy { return thole.PolicyFunc(p.Do) }

// noGoroutines fails the test if, soon after it and its clean-ups, more goroutines run than
// at the time of the call.
func noGoroutines(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() { settles(t, before) })
}

// settles waits until no more goroutines run than n.
func settles(t *testing.T, n int) {
	t.Helper()
	if !soon(func() bool { return runtime.NumGoroutine() <= n }) {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, there were %d before:\n%s", runtime.NumGoroutine(), n, buf[:runtime.Stack(buf, true)])
	}
}

// soon waits until is holds, and gives up after some seconds.
func soon(is func() bool) bool {
	tick := time.NewTicker(ms)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); ; <-tick.C {
		if is() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func outgoing(kv ...string) context.Context {
	return metadata.NewOutgoingContext(context.Background(), metadata.Pairs(kv...))
}

// goroutines returns their number once it does not fall any more.
func goroutines(t *testing.T) int {
	t.Helper()
	n := runtime.NumGoroutine()
	for still := 0; still < 20; still++ {
		if !soon(func() bool { return true }) {
			break
		}
		if m := runtime.NumGoroutine(); m < n {
			n, still = m, 0
		}
		runtime.Gosched()
	}
	return n
}
