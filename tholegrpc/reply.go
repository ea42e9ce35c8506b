package tholegrpc

import (
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// protoOf returns reply as a protobuf message, if it is one.
func protoOf(reply any) (proto.Message, bool) {
	switch m := reply.(type) {
	case proto.Message:
		return m, true
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m), true
	}
	return nil, false
}

// clonable reports whether attempts can have replies of their own in place of reply: it is
// a protobuf message, or, for another codec, a pointer to what is zero so far. Of any other
// it is not known what its codec would do with a fresh one.
func clonable(reply any) bool {
	if _, ok := protoOf(reply); ok {
		return true
	}
	v := reflect.ValueOf(reply)
	return v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().IsZero()
}

// newLike returns an empty reply of the same type.
func newLike(reply any) any {
	switch m := reply.(type) {
	case proto.Message:
		return m.ProtoReflect().New().Interface()
	default:
		return reflect.New(reflect.TypeOf(reply).Elem()).Interface()
	}
}

// move makes dst what src is. src, of the same type, is not used any more, so what its
// fields refer to needs no copy.
func move(dst, src any) {
	from, ok := protoOf(src)
	if !ok {
		reflect.ValueOf(dst).Elem().Set(reflect.ValueOf(src).Elem())
		return
	}
	to, _ := protoOf(dst)
	proto.Reset(to)
	s, d := from.ProtoReflect(), to.ProtoReflect()
	s.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		d.Set(f, v)
		return true
	})
	if unknown := s.GetUnknown(); len(unknown) > 0 {
		d.SetUnknown(unknown)
	}
}
