package data

import (
	"embed"
	"io/fs"
)

// The names of the files.
const (
	SwissHouseholds = "ch_households_30min_wh.csv.gz"
	SwissExcluded   = "ch_excluded_30min_wh.csv.gz"
	SwissMeters     = "ch_meters.csv"
	SwissSample     = "ch_sample_24x7.csv"
	AustralianTen   = "au_sgsc10_30min_wh.csv.gz"
	AustralianSolar = "au_solar12_30min_wh.csv.gz"
)

// Apart, so that a program which reads only the households does not carry the rest.
var (
	//go:embed ch_households_30min_wh.csv.gz LICENSE
	households embed.FS
	//go:embed ch_sample_24x7.csv LICENSE
	sample embed.FS
	//go:embed ch_meters.csv LICENSE
	meters embed.FS
	//go:embed *.csv *.gz README.md LICENSE
	all embed.FS
)

// Households holds SwissHouseholds and its licence.
func Households() fs.FS { return households }

// Sample holds SwissSample and its licence.
func Sample() fs.FS { return sample }

// Meters holds SwissMeters and its licence.
func Meters() fs.FS { return meters }

// All holds every file.
func All() fs.FS { return all }
