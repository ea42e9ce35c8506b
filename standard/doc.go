// Package standard has the sensible stacks, ready to use on any edge:
//
//	client := &http.Client{Transport: tholehttp.NewTransport(nil, standard.Client(), tholehttp.TransportConfig{})}
//
//	handler = tholehttp.NewHandler(handler, standard.Server(100), tholehttp.HandlerConfig{})
//
// They are plain compositions of this module's policies, without a setting to turn. Outgrow
// one by copying its few lines and changing what you need: thole.Explain prints every number
// that is in force.
package standard
