package tholegrpc

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
)

// DefaultOutcome is what a status code says about the health of the callee, unless
// [WithOutcome] says otherwise.
//
//	OK                   Success
//	NotFound             Success   an answer: there is none
//	AlreadyExists        Success   an answer
//	InvalidArgument      Success   an answer: the caller is wrong, whatever the callee's state
//	FailedPrecondition   Success   an answer: the state is not one for this call
//	OutOfRange           Success   an answer
//	PermissionDenied     Success   an answer: the callee knows the caller well enough to say no
//	Unauthenticated      Success   an answer
//	Unimplemented        Success   an answer: this callee is not one for this call
//	Canceled             Ignored   somebody lost interest
//	Unavailable          Failure   the callee, or the way there, is down; it may be tried again
//	ResourceExhausted    Failure   the callee is overloaded; tried again if it says when
//	DeadlineExceeded     Failure   too slow; tried again if the attempt's own limit ended it
//	Aborted              Failure   a conflict; to be mended further up, by a new transaction
//	Internal             Failure
//	Unknown              Failure   also what a handler's plain error becomes
//	DataLoss             Failure
//
// Codes that gRPC does not know are Failures.
func DefaultOutcome(code codes.Code) thole.Outcome {
	switch code {
	case codes.OK, codes.NotFound, codes.AlreadyExists, codes.InvalidArgument, codes.FailedPrecondition,
		codes.OutOfRange, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return thole.Success
	case codes.Canceled:
		return thole.Ignored
	}
	return thole.Failure
}

// callersFault reports whether gRPC refused to send or to take a message because of what the
// caller gave, or of a limit on this side: it says nothing of the callee. Such a status
// has no mark but its words.
func callersFault(st *status.Status) bool {
	switch st.Code() {
	case codes.ResourceExhausted, codes.Internal, codes.Unimplemented:
		return slices.ContainsFunc(faultPrefixes, func(p string) bool { return strings.HasPrefix(st.Message(), p) })
	}
	return false
}

var faultPrefixes = []string{
	"trying to send message larger than max",
	"grpc: received message larger than max",
	"grpc: message too large",
	"grpc: error while marshaling",
	"grpc: error while compressing",
	"grpc: Compressor is not installed for requested grpc-encoding",
	"SendMsg called after CloseSend",
	"header key ",
}
