package api

import "time"

// SubMeter is a meter behind a meter, such as a gas meter that the electricity meter hears over the M-Bus.
type SubMeter struct {
	ID      string      `json:"id"`               // as the sub-meter tells it, else channel-N; unique among those of the meter
	Meter   string      `json:"meter"`            // the meter that tells its values
	Medium  string      `json:"medium"`           // gas, water, warm-water, heat, cooling, heat-cooling, steam, electricity, other, type-N
	Channel int         `json:"channel"`          // on which the meter hears it, 0: not told
	Newest  *SubReading `json:"newest,omitempty"` // none: no value is kept
}

// SubReading is the register of a sub-meter at one instant.
type SubReading struct {
	Time  time.Time `json:"time"`  // of the value, as the sub-meter told it
	Value string    `json:"value"` // an exact decimal number
	Unit  string    `json:"unit"`  // m3, GJ, Wh
}

// SubMeterQuery asks for the sub-meters of a meter.
type SubMeterQuery struct {
	Paging
	ID string `json:"id"`
}

// SubReadingQuery selects values of a sub-meter with times in [From, To); zero times mean from the oldest and to the newest.
type SubReadingQuery struct {
	Paging
	ID       string    `json:"id"`
	SubMeter string    `json:"subMeter"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}

// SubMeterEvent is the data of an EventSubMeter (a MeterReading of IEC 61968-9): a new value of a sub-meter.
type SubMeterEvent struct {
	Meter    string `json:"meter"`
	Path     string `json:"path"`
	SubMeter string `json:"subMeter"`
	Medium   string `json:"medium"`
	Channel  int    `json:"channel"`
	SubReading
	Received time.Time `json:"received"` // wall time
}
