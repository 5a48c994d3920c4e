package dataset

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestMeasured(t *testing.T) {
	odd, err := Odd()
	if err != nil {
		t.Fatal(err)
	}
	gappy, err := Gappy()
	if err != nil {
		t.Fatal(err)
	}
	negative, gaps := 0, 0
	for _, m := range odd {
		for _, v := range m.Wh {
			if v < 0 && v != None {
				negative++
			}
		}
	}
	for _, m := range gappy {
		for _, v := range m.Wh {
			if v == None {
				gaps++
			}
		}
	}
	if len(odd) != 43 || negative != 14 || len(gappy) != 10 || gaps < 4638 {
		t.Errorf("%d odd meters with %d values below zero, %d meters with %d gaps", len(odd), negative, len(gappy), gaps)
	}
	if gappy[0].ID != "M10006414" || gappy[0].Wh[15] != None || gappy[0].Wh[16] != 141 || gappy[0].Start%86400 != 86400-Australia {
		t.Errorf("%s begins at %d with %v", gappy[0].ID, gappy[0].Start, gappy[0].Wh[:18])
	}
	d := load(t)
	if m := d.Household(0).Measured(); m.Start != t0 || m.Wh[0] != 1053 || len(m.Wh) != 49*48 {
		t.Errorf("%d, %v, %d values", m.Start, m.Wh[0], len(m.Wh))
	}
}

func TestMeasuredErrors(t *testing.T) {
	head := "meter,date" + strings.Repeat(",h", 48) + "\n"
	row := func(date, first string) string { return "7," + date + "," + first + strings.Repeat(",", 47) + "\n" }
	for text, want := range map[string]string{
		"":                            "EOF",
		head + "7,2020-01-01\n":       "wrong number of fields",
		head + row("1.1.2020", "1"):   `line 2: date "1.1.2020"`,
		head + row("2020-01-01", "x"): `line 2, column 3: value "x"`,
		head + row("2020-01-02", "1") + row("2020-01-01", "1"): "line 3: day 2020-01-01 of meter 7 is not behind",
	} {
		_, err := ReadMeasured(fstest.MapFS{"f": {Data: []byte(text)}}, "f", 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadMeasured(fstest.MapFS{}, "f", 0); err == nil {
		t.Error("read a file that is not there")
	}
}
