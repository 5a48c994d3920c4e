package brokerbench

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// ErrSystem is returned where the system is not Linux.
var ErrSystem = errors.New("the load needs epoll and /proc: it runs on Linux only")

// Options say what is measured.
type Options struct {
	// Quick measures so shortly that the figures say little: enough to see that nothing is lost.
	Quick bool
	// Servers are names of Servers; those whose program is missing are left out.
	Servers []string
	// Rows are names of Rows; none means all.
	Rows []string
	// Dir is a directory for configuration and data of the brokers.
	Dir string
	// Started is told what is being measured, and how many of how many measurements are behind it; nil is allowed.
	Started func(row, server string, done, total int)
}

// Result is what one broker did in one row. A figure that the row does not have is 0.
type Result struct {
	Row    string `json:"row"`
	Server string `json:"server"`
	Text   string `json:"text"`           // what the row does, for people
	Note   string `json:"note,omitempty"` // why there are no figures

	Rate         float64       `json:"rate,omitempty"`          // 1/s: deliveries, or connections
	CPU          float64       `json:"cpu,omitempty"`           // seconds for a million of them, of all processes of the broker
	GeneratorCPU float64       `json:"generator_cpu,omitempty"` // the same of the load
	P50          time.Duration `json:"p50_ns,omitempty"`        // from write to delivery
	P99          time.Duration `json:"p99_ns,omitempty"`
	Quiet50      time.Duration `json:"quiet_p50_ns,omitempty"` // the same without those who are hostile
	Quiet99      time.Duration `json:"quiet_p99_ns,omitempty"`
	Elsewhere99  time.Duration `json:"elsewhere_p99_ns,omitempty"` // the same while they are hostile to another broker on this machine
	Memory       int64         `json:"memory,omitempty"`           // resident, of all of the broker, in bytes
	Bytes        float64       `json:"bytes,omitempty"`            // resident memory for each connection

	Messages    int64 `json:"messages"`           // numbered and sent
	Lost        int64 `json:"lost"`               // acknowledged and not delivered
	Undelivered int64 `json:"undelivered"`        // QoS 0, not delivered
	Disordered  int64 `json:"disordered"`         // delivered for the first time behind a later one of the same publisher
	Repeated    int64 `json:"repeated,omitempty"` // delivered more than once
	Unacked     int64 `json:"unacked,omitempty"`  // QoS 1, not acknowledged when all had come to rest
}

// Ratio is this broker's figure over ours, 0 where one is missing.
func Ratio(ours, theirs float64) float64 {
	if ours == 0 || theirs == 0 {
		return 0
	}
	return ours / theirs
}

// Run measures. The results come row by row, in each row broker by broker, ours first.
func Run(ctx context.Context, o Options) ([]Result, error) { return run(ctx, o) }

// merge makes one result of several of the same broker and row: of the figures the medians, of what went wrong the sum.
func merge(of []Result) Result {
	r := of[0]
	r.Rate = median(of, func(r *Result) float64 { return r.Rate })
	r.CPU = median(of, func(r *Result) float64 { return r.CPU })
	r.GeneratorCPU = median(of, func(r *Result) float64 { return r.GeneratorCPU })
	r.P50 = median(of, func(r *Result) time.Duration { return r.P50 })
	r.P99 = median(of, func(r *Result) time.Duration { return r.P99 })
	for _, o := range of[1:] {
		if r.Note == "" {
			r.Note = o.Note
		}
		r.Messages += o.Messages
		r.Lost += o.Lost
		r.Undelivered += o.Undelivered
		r.Disordered += o.Disordered
		r.Repeated += o.Repeated
		r.Unacked += o.Unacked
	}
	return r
}

func median[T cmp.Ordered](of []Result, figure func(*Result) T) T {
	figures := make([]T, len(of))
	for i := range of {
		figures[i] = figure(&of[i])
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}
