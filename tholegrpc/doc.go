// Package tholegrpc makes gRPC interceptors of policies.
package tholegrpc
