package serviceconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// Parse reads a service config. What grpc-go does not accept is refused, with grpc-go's own
// error. Beyond that, a hedgingPolicy is held to what gRFC A6 demands: maxAttempts of 2 or
// more, no negative hedgingDelay, no retryPolicy beside it.
func Parse(js string) (*Config, error) {
	if err := check(js); err != nil {
		return nil, err
	}
	var raw rawConfig
	if err := json.Unmarshal([]byte(js), &raw); err != nil {
		return nil, err
	}
	c := newConfig(raw.RetryThrottling)
	for i, m := range raw.MethodConfig {
		if err := m.validate(); err != nil {
			return nil, fmt.Errorf("invalid hedging policy in methodConfig[%d]: %w", i, err)
		}
		c.add(m)
	}
	return c, nil
}

// check asks grpc-go's parser, which is to be had only by way of a client. It connects to
// nobody.
func check(js string) error {
	cc, err := grpc.NewClient("passthrough:///check", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(js))
	if err == nil {
		return cc.Close()
	}
	return errors.New(strings.TrimPrefix(err.Error(), "grpc: the provided default service config is invalid: "))
}

// The config as it is written. encoding/json minds no letter's case, nor does grpc-go.
type rawConfig struct {
	MethodConfig    []rawMethod
	RetryThrottling *rawThrottling
}

type rawMethod struct {
	Name          []rawName
	Timeout       *duration
	RetryPolicy   *rawRetry
	HedgingPolicy *rawHedging
}

type rawName struct{ Service, Method string }

// path returns the name as the beginning of a full method.
func (n rawName) path() string {
	if n.Service == "" {
		return ""
	}
	return "/" + n.Service + "/" + n.Method
}

type rawRetry struct {
	MaxAttempts          int
	InitialBackoff       duration
	MaxBackoff           duration
	BackoffMultiplier    float64
	RetryableStatusCodes []codes.Code
}

type rawHedging struct {
	MaxAttempts         int
	HedgingDelay        duration
	NonFatalStatusCodes []codes.Code
}

type rawThrottling struct{ MaxTokens, TokenRatio float64 }

func (m rawMethod) validate() error {
	h := m.HedgingPolicy
	switch {
	case h == nil:
	case m.RetryPolicy != nil:
		return errors.New("there is a retryPolicy too; want one of the two")
	case h.MaxAttempts < 2:
		return fmt.Errorf("maxAttempts is %d; want 2 or more", h.MaxAttempts)
	case h.HedgingDelay < 0:
		return fmt.Errorf("hedgingDelay is %v; want 0 or more", time.Duration(h.HedgingDelay))
	}
	return nil
}

// duration is one as protobuf writes them in JSON: seconds with up to nine decimals, and an s.
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	// grpc-go has seen the well-known fields; hedgingDelay it has not.
	if digits, ok := strings.CutSuffix(s, "s"); !ok || digits == "" || strings.Trim(digits, "-.0123456789") != "" {
		return fmt.Errorf("malformed duration %q", s)
	}
	parsed, err := time.ParseDuration(s)
	switch {
	case err == nil:
	case strings.HasPrefix(s, "-"):
		parsed = math.MinInt64
	case strings.Trim(s, "0123456789.s") == "" && strings.Count(s, ".") <= 1 && len(s) > 2:
		parsed = math.MaxInt64 // out of time.Duration's range
	default:
		return fmt.Errorf("malformed duration %q", s)
	}
	*d = duration(parsed)
	return nil
}
