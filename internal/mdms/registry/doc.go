// Package registry holds the master data of an installation in RAM: usage points with their place in the grid, meters as
// things, and which meter was where when, with the registers at both ends (IEC 61968-9 UsagePointConfig, MeterConfig and
// MasterDataLinkageConfig). It reads and writes them as CSV, and as records that the store keeps without understanding them.
//
// Everything has two times: since when it holds (valid) and since when the centre knows it (recorded). Changes are appended,
// nothing is overwritten, so what was known at any time is to be had again.
//
// It does no I/O but on the readers and writers it is given, starts nothing, and knows neither bus nor store.
package registry
