package penstock

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type point struct {
	X float64
	Y Null[float64]
}

type place struct {
	Name   Null[string]
	Point  Null[point]
	Visits []Null[int32]
}

type everything struct {
	Boolean Null[bool]
	Int8    int8
	Int64   Null[int64]
	Uint64  uint64
	Float16 Float16
	Float32 Null[float32]
	Float64 float64
	Fare    Decimal128       `penstock:"fare,decimal128[12, 2]"`
	Large   Null[Decimal256] `penstock:"large,decimal256[50, 10]"`
	Day     Date
	At      Timestamp
	InParis Null[int64] `penstock:"in_paris,timestamp[ns, Europe/Paris]"`
	Took    int64       `penstock:"took,duration[ms]"`
	Fixed   Null[[5]byte]
	Text    Null[string]
	Bytes   []byte
	Lists   Null[[]Null[[]Null[bool]]]
	Times   []int32 `penstock:"times,list[time32[s]]"`
	Place   Null[place]
	Places  []Null[place]
	Skipped chan int `penstock:"-"`
}

func some() []everything {
	at := place{Some("Zü"), Some(point{1.5, Null[float64]{}}), []Null[int32]{Some(int32(-1)), {}}}
	return []everything{
		{},
		{
			Boolean: Some(true), Int8: -128, Int64: Some(int64(math.MinInt64)), Uint64: math.MaxUint64, Float16: 0x7c00,
			Float32: Some(float32(math.Inf(-1))), Float64: 5e-324, Fare: Decimal128{1234, -1}, Large: Some(Decimal256{1, 2, 3, 4}),
			Day: -1, At: 1 << 53, InParis: Some(int64(7)), Took: 8, Fixed: Some([5]byte{1, 2, 3, 4, 5}), Text: Some("漢字🦀"),
			Bytes: []byte{0, 255}, Lists: Some([]Null[[]Null[bool]]{Some([]Null[bool]{Some(true), {}}), {}}),
			Times: []int32{1, 2, 3}, Place: Some(at), Places: []Null[place]{{}, Some(at)},
		},
		{Text: Some(""), Lists: Some([]Null[[]Null[bool]]{})},
	}
}

func TestEveryTypeSurvivesColumns(t *testing.T) {
	columns, err := columnsFor[everything]("row")
	if err != nil {
		t.Fatal(err)
	}
	rows := some()
	for range 6 {
		rows = append(rows, rows...)
	}
	made := writeAll(columns, rows, nil)
	read := own[everything](columns, made)
	again := writeAll(columns, read, nil)
	if !reflect.DeepEqual(made, again) {
		t.Error("what was read is written otherwise")
	}
	if one := read[1]; one.Text.V != "漢字🦀" || one.Fare != (Decimal128{1234, -1}) || one.Places[1].V.Visits[0].V != -1 || one.Lists.V[1].Valid {
		t.Errorf("read %+v", one)
	}
}

func TestFormatsAreThoseOfTheContract(t *testing.T) {
	columns, _ := columnsFor[everything]("row")
	var formats []string
	for _, field := range describe(columns, nil) {
		formats = append(formats, field.Format)
	}
	expected := "b c l L e f g d:12,2 d:50,10,256 tdD tsu:UTC tsn:Europe/Paris tDm w:5 u z +l +l b +l tts +s u +s g g +l i +l +s u +s g g +l i"
	if found := strings.Join(formats, " "); found != expected {
		t.Errorf("found    %s\nexpected %s", found, expected)
	}
}

func TestNamesAreInSnakeCase(t *testing.T) {
	for name, expected := range map[string]string{"AmountCents": "amount_cents", "ID": "id", "UserID": "user_id", "HTTPCode": "http_code", "Int8": "int8"} {
		if found := snake(name); found != expected {
			t.Errorf("%s: %s", name, found)
		}
	}
}

type offer struct{ Accepted bool }
type counts struct{ Offers, Accepted uint64 }
type share struct{ Share float64 }
type shares struct{}

func (shares) Accumulate(counts *counts, offer *offer) error {
	counts.Offers += 1000
	if offer.Accepted {
		return Refuse("accepted", "number %d", counts.Offers)
	}
	counts.Offers -= 999
	return nil
}
func (shares) Merge(earlier, later *counts) { earlier.Offers += later.Offers }
func (shares) Finish(counts *counts, _ Bounds, emit func(share)) {
	emit(share{float64(counts.Offers)})
}

func TestARejectedRowLeavesNoTrace(t *testing.T) {
	driver, err := NewDriver[offer, counts, share](WindowOf[offer, counts, share](shares{}), "{}")
	if err != nil {
		t.Fatal(err)
	}
	rejects, err := driver.Accumulate(0, []offer{{false}, {true}, {false}})
	if err != nil || len(rejects) != 1 || rejects[0] != (Rejected{1, "accepted", "number 1001"}) {
		t.Errorf("%v, %v", rejects, err)
	}
	if output, _ := driver.Finish(Bounds{}); !slices.Equal(output, []share{{2}}) {
		t.Errorf("%v", output)
	}
}

func TestMisfitsAreNamed(t *testing.T) {
	window := WindowOf[offer, counts, share](shares{})
	open := func(config string, schema ...Field) string {
		_, err := window.Open(&Opening{Config: config, Events: []Event{{"ride", schema}}})
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for found, expected := range map[string]string{
		open("{}", Field{Name: "other", Format: "b"}):         "event `ride` has no column `accepted`, which offer.Accepted expects as bool; there are: `other`",
		open("{}", Field{Name: "accepted", Format: "U"}):      "has a column `accepted` of type large_utf8, but offer.Accepted expects bool: declare the field as `string`",
		open(`{"a":1}`, Field{Name: "accepted", Format: "b"}): "takes no configuration",
	} {
		if !strings.Contains(found, expected) {
			t.Errorf("`%s` is not in `%s`", expected, found)
		}
	}
	if found := open("{}", Field{Name: "x", Format: "+s", Children: 1}, Field{Name: "y", Format: "u"}, Field{Name: "accepted", Format: "b"}); found != "" {
		t.Error(found)
	}
}
