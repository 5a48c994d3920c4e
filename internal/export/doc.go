// Package export writes what a centre knows of usage points in formats for others: CSV, Parquet, Green Button (ESPI, NAESB
// REQ.21) and MeterReadings of IEC 61968-9. Writers take one usage point after the other and hold no more than one of them;
// they write the same bytes for the same input. The package asks nobody for data and knows no store, bus or HTTP.
package export
