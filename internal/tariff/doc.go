// Package tariff holds tariff calendars: which time-of-use period (TOU) holds at an instant. A calendar is a YAML file of
// seasons, day types, holidays and times of the day, all in local time; docs/billing.md describes it. The package also knows
// local days: when they begin, and how long they are where clocks change. It knows no meters and no values.
package tariff
