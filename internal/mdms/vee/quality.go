package vee

// The quality codes of values (IEC 61968-9 ReadingQualityType: system.category.index; system 1 is the meter, 2 the head end,
// 3 the MDM).
const (
	QualityRaw       = "3.0.0"   // as it came
	QualityValidated = "3.0.1"   // validated
	QualitySuspect   = "3.5.258" // suspect
	QualityMissing   = "3.5.259" // known missing
	QualityFailed    = "3.6.0"   // validation failed
	QualityEstimated = "3.8.0"   // estimated
	QualityEdited    = "3.7.0"   // edited
	QualityPowerFail = "1.2.32"  // power failure in the interval
	QualityClock     = "1.1.9"   // clock error
	QualityTamper    = "1.3.0"   // tamper, revenue protection
	QualityPartial   = "1.4.2"   // partial interval
	QualityLong      = "1.4.3"   // long interval
	QualityOverflow  = "1.4.1"   // overflow
	QualityClockSet  = "1.4.9"   // clock changed
	QualityZero      = "3.6.1"   // zero usage
	QualityInactive  = "3.6.2"   // usage on inactive meter
	QualityAbove     = "3.6.3"   // usage above limit
	QualityAbovePct  = "3.6.5"   // above percent of what is usual
	QualityBelowPct  = "3.6.6"   // below percent of what is usual
	QualityRange     = "3.5.256" // outside expected range
	QualityErrorCode = "3.5.257" // error code
	QualitySkipped   = "2.4.4"   // skipped interval
	QualityAdded     = "3.7.1"   // added by hand
)

// Code is the quality code of a finding.
func (f *Finding) Code() string {
	switch f.Rule {
	case Clock:
		return QualityClock
	case Gap, Lost, Unfilled:
		return QualitySkipped
	case Partial:
		if f.what == 1 {
			return QualityLong
		}
		return QualityPartial
	case Rollover:
		return QualityOverflow
	case HighLow:
		if f.number("ratio") < 1 {
			return QualityBelowPct
		}
		return QualityAbovePct
	case Limit:
		return QualityAbove
	case Zero:
		return QualityZero
	case Inactive:
		return QualityInactive
	case Status:
		switch f.what {
		case 2:
			return QualityErrorCode
		case 3:
			return QualityClockSet
		}
		return QualityTamper
	case Spike, Stuck, Reactive, Export:
		return QualityRange
	case Prolonged:
		return QualityEstimated
	}
	return QualityFailed
}
