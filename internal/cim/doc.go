// Package cim holds the nouns of IEC 61968-9 that wattbus speaks inside the centre: end devices, interval blocks, reading
// qualities, end device controls and events. Values only: it does no I/O and knows no wire format.
package cim
