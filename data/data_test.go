package data

import (
	"io/fs"
	"testing"
)

func TestFilesAreInside(t *testing.T) {
	for _, c := range []struct {
		fsys fs.FS
		name string
	}{
		{Households(), SwissHouseholds}, {Households(), "LICENSE"}, {Sample(), SwissSample}, {Sample(), "LICENSE"},
		{All(), SwissHouseholds}, {All(), SwissExcluded}, {All(), SwissMeters}, {All(), SwissSample},
		{All(), AustralianTen}, {All(), AustralianSolar}, {All(), "README.md"}, {All(), "LICENSE"},
	} {
		info, err := fs.Stat(c.fsys, c.name)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if info.Size() == 0 {
			t.Errorf("%s is empty", c.name)
		}
	}
}
