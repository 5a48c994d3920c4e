package mdms

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
)

type metrics struct {
	entries   *prometheus.CounterVec
	perType   [record.UpTypes]prometheus.Counter // of entries, looked up once
	ignored   *prometheus.CounterVec
	dead      *prometheus.CounterVec // the EEB's own where it is in the same process
	commits   prometheus.Counter
	audit     prometheus.Counter
	commit    prometheus.Histogram
	failures  prometheus.Counter
	blocks    prometheus.Counter
	downlinks *prometheus.CounterVec
	expired   *prometheus.CounterVec
	verdicts  *prometheus.CounterVec
	findings  *prometheus.CounterVec
	results   *prometheus.CounterVec
}

// count counts a message.
func (x *metrics) count(t record.Type) {
	if int(t) < len(x.perType) {
		x.perType[t].Inc()
	}
}

func (m *MDMS) newMetrics() (*metrics, error) {
	x := &metrics{
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_mdms_messages_total",
			Help: "Messages of devices taken over from the bus, by type."}, []string{"type"}),
		ignored: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_mdms_ignored_total",
			Help: "Messages of devices that were understood but not used, by reason."}, []string{"reason"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_dead_letters_total",
			Help: "Messages that could not be understood."}, []string{"reason"}),
		audit:   prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_audit_entries_total", Help: "Entries added to the audit trail."}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_commits_total", Help: "Commits to the store."}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "wattbus_store_commit_seconds", Help: "Duration of commits to the store.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_commit_failures_total", Help: "Commits to the store that had to be tried again."}),
		blocks:   prometheus.NewCounter(prometheus.CounterOpts{Name: "wattbus_blocks_total", Help: "Days of a device and channel that were sealed, new versions included."}),
		downlinks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_mdms_downlinks_total",
			Help: "Messages for devices handed to the bus, by origin and outcome."}, []string{"origin", "outcome"}),
	}
	x.expired = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_expired_total",
		Help: "Rows of the store that were removed because they had been kept long enough, by kind."}, []string{"kind"})
	x.verdicts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_vee_days_total",
		Help: "Days of a device and channel that were judged, by the least certain quality of their values."}, []string{"quality"})
	x.findings = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_vee_findings_total",
		Help: "Findings of validation and estimation, by rule and severity."}, []string{"rule", "severity"})
	x.results = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattbus_command_results_total",
		Help: "First results of meters on commands, by outcome and why it was not carried out."}, []string{"outcome", "reason"})
	for t := range x.perType {
		x.perType[t] = x.entries.WithLabelValues(record.Type(t).String())
	}
	if m.o.Registerer == nil {
		return x, nil
	}
	read := func(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			m.mu.RLock()
			defer m.mu.RUnlock()
			return f()
		})
	}
	count := func(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			m.mu.RLock()
			defer m.mu.RUnlock()
			return f()
		})
	}
	var there prometheus.AlreadyRegisteredError
	if err := m.o.Registerer.Register(x.dead); errors.As(err, &there) {
		x.dead, _ = there.ExistingCollector.(*prometheus.CounterVec)
	} else if err != nil {
		return nil, err
	}
	for _, c := range append(m.deadlineMetrics(), []prometheus.Collector{
		x.entries, x.ignored, x.commits, x.audit, x.commit, x.failures, x.blocks, x.downlinks, x.expired, x.verdicts, x.findings, x.results,
		count("wattbus_intervals_total", "Intervals kept, by how they came.", prometheus.Labels{"quality": "received"},
			func() float64 { return float64(m.ledger.total.received) }),
		count("wattbus_intervals_total", "Intervals kept, by how they came.", prometheus.Labels{"quality": "recovered"},
			func() float64 { return float64(m.ledger.total.recovered) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattbus_intervals_missing", Help: "Intervals that are expected and not there."},
			func() float64 { _, n := m.missing(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattbus_completeness_ratio", Help: "Share of the expected intervals that are there."},
			func() float64 { return m.counts().Percent / 100 }),
		count("wattbus_intervals_superseded_total", "Values that replaced a different one.", nil,
			func() float64 { return float64(m.ledger.differ) }),
		count("wattbus_intervals_outside_total", "Values too old or too far in the future to be kept.", nil,
			func() float64 { return float64(m.ledger.late) }),
		read("wattbus_quarantined", "Operators and feeders whose disconnections are stopped.", nil, func() float64 { return float64(len(m.commands.Quarantines())) }),
		count("wattbus_breaker_readings_total", "Readings behind a switch, by what they said of the breaker.", prometheus.Labels{"state": api.VerifyDone},
			func() float64 { return float64(m.commands.Stats().Verified) }),
		count("wattbus_breaker_readings_total", "Readings behind a switch, by what they said of the breaker.", prometheus.Labels{"state": api.VerifyContradicted},
			func() float64 { return float64(m.commands.Stats().Contradicted) }),
		count("wattbus_breaker_readings_total", "Readings behind a switch, by what they said of the breaker.", prometheus.Labels{"state": api.VerifyUnanswered},
			func() float64 { return float64(m.commands.Stats().Unanswered) }),
		read("wattbus_devices", "Devices known, concentrators left out.", nil, func() float64 { return float64(m.outages.Devices()) }),
		read("wattbus_outages_open", "Outage cases that go on, communication faults included.", nil, func() float64 { return float64(m.outages.Open()) }),
		read("wattbus_interruptions_open", "Meters without supply, by verdict.", nil, func() float64 { return float64(m.outages.Interruptions()) }),
		read("wattbus_storm", "1 while alarms are consolidated.", nil, func() float64 {
			if m.outages.InStorm() {
				return 1
			}
			return 0
		}),
		count("wattbus_alarms_total", "News that devices are gone: last gasps, wills, silences.", nil, func() float64 { return float64(m.outages.Stats().Alarms) }),
		count("wattbus_verification_pings_total", "Meters asked whether they are there.", nil, func() float64 { return float64(m.outages.Stats().Pings) }),
		count("wattbus_verification_unanswered_total", "Of these, those that did not answer.", nil, func() float64 { return float64(m.outages.Stats().Unanswered) }),
		count("wattbus_storm_shed_total", "Communication cases that were not opened and pings that were not sent.", nil, func() float64 { return float64(m.outages.Shed()) }),
		read("wattbus_roll_outs_open", "Roll-outs of firmware that have not ended.", nil, func() float64 { return float64(m.firmware.Stats().Open) }),
		count("wattbus_firmware_blocks_total", "Blocks of firmware images sent.", prometheus.Labels{"to": "many"}, func() float64 { return float64(m.firmware.Stats().Blocks) }),
		count("wattbus_firmware_blocks_total", "Blocks of firmware images sent.", prometheus.Labels{"to": "one"}, func() float64 { return float64(m.firmware.Stats().Singles) }),
		count("wattbus_firmware_activated_total", "Meters that run the firmware of their roll-out.", nil, func() float64 { return float64(m.firmware.Stats().Activated) }),
		read("wattbus_days_waiting", "Days of a device and channel that are over and wait to be sealed.", nil,
			func() float64 { return float64(len(m.ledger.waiting.over)) }),
		read("wattbus_vee_waiting", "Days of a device and channel that wait to be judged.", nil, func() float64 { return float64(m.judge.waiting()) }),
		read("wattbus_backfill_waiting", "Meters with gaps and no request under way.", nil,
			func() float64 { return float64(m.planner.Stats().Waiting) }),
		read("wattbus_backfill_in_flight", "Load profile requests under way.", nil,
			func() float64 { return float64(m.planner.Stats().InFlight) }),
		count("wattbus_backfill_requests_total", "Load profile requests sent for missing intervals.", nil,
			func() float64 { return float64(m.planner.Stats().Requests) }),
		count("wattbus_backfill_timeouts_total", "Load profile requests that were not answered.", nil,
			func() float64 { return float64(m.planner.Stats().Timeouts) }),
	}...) {
		if err := m.o.Registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return x, nil
}
