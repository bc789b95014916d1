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

func TestATagOnAGoTypeThatCannotHoldItIsRefused(t *testing.T) {
	refused := func(of reflect.Type, parts ...string) {
		t.Helper()
		_, err := recordOf(of)
		if err == nil {
			t.Errorf("%v is taken", of)
			return
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("`%s` is not in `%s`", part, err)
			}
		}
	}
	refused(reflect.TypeFor[struct {
		Fare string `penstock:"fare,decimal128[12, 2]"`
	}](), ".Fare is of Go type string, which cannot hold decimal128[12, 2]: declare it as penstock.Decimal128")
	refused(reflect.TypeFor[struct {
		Fare [2]uint64 `penstock:"fare,decimal128[12, 2]"`
	}]())
	refused(reflect.TypeFor[struct {
		Fare []string `penstock:"fare,timestamp[us]"`
	}]())
	refused(reflect.TypeFor[struct {
		Fare float64 `penstock:"fare,timestamp[us]"`
	}](), "declare it as int64")
	refused(reflect.TypeFor[struct {
		Fare int64 `penstock:"fare,float64"`
	}]())
	refused(reflect.TypeFor[struct {
		Fare Null[uint32] `penstock:"fare,date32"`
	}]())
	refused(reflect.TypeFor[struct {
		Fare []string `penstock:"fare,list[decimal128[12, 2]]"`
	}](), ".Fare[] is of Go type string")
	refused(reflect.TypeFor[struct {
		Fare int64 `penstock:"fare,list[int64]"`
	}](), "no type of a column")
	refused(reflect.TypeFor[struct {
		Fare [4]byte `penstock:"fare,fixed_size_binary[5]"`
	}](), "declare it as [5]uint8")
	refused(reflect.TypeFor[struct {
		Fare int64 `penstock:"fare,strings"`
	}](), "tagged `strings`")
	refused(reflect.TypeFor[struct{ Fare Decimal256 }](), "say which")
}

type cents Decimal128

func TestTagsMaySayWhatTheGoTypeSays(t *testing.T) {
	columns, err := columnsFor[struct {
		A bool               `penstock:"a,bool"`
		B Null[string]       `penstock:"b,utf8"`
		C []byte             `penstock:"c,binary"`
		D [5]byte            `penstock:"d,fixed_size_binary[5]"`
		E []Null[Decimal128] `penstock:"e,list[decimal128[12, 2]]"`
		F [][]int64          `penstock:"f,list[list[timestamp[ms, UTC]]]"`
		G cents              `penstock:"g,decimal128[12, 2]"`
		H Timestamp          `penstock:"h,timestamp[us, Europe/Paris]"`
		I uint16             `penstock:"i,float16"`
		J []uint8            `penstock:"j,list[uint8]"`
		K float32            `penstock:"k,float32"`
	}]("row")
	if err != nil {
		t.Fatal(err)
	}
	var formats []string
	for _, field := range describe(columns, nil) {
		formats = append(formats, field.Format)
	}
	expected := "b u z w:5 +l d:12,2 +l +l tsm:UTC d:12,2 tsu:Europe/Paris e +l C f"
	if found := strings.Join(formats, " "); found != expected {
		t.Errorf("found    %s\nexpected %s", found, expected)
	}
}

// notNull has the methods of a Null, and is none.
type notNull struct {
	Null[int64]
	Other string
}

func TestAStructAroundANullIsAStruct(t *testing.T) {
	columns, err := columnsFor[struct{ It notNull }]("row")
	if err != nil || len(columns) != 1 || columns[0].kind != kindStruct || columns[0].nullable {
		t.Errorf("%+v, %v", columns, err)
	}
}

func panics(call func()) (what string) {
	defer func() {
		if panicked := recover(); panicked != nil {
			what = panicked.(string)
		}
	}()
	call()
	return ""
}

func TestValuesAreOfTheColumnsGoType(t *testing.T) {
	type row struct {
		Cents Null[int64]
		At    Timestamp
		Fare  Decimal128 `penstock:"fare,decimal128[12, 2]"`
		Name  string
	}
	columns, err := columnsFor[row]("row")
	if err != nil {
		t.Fatal(err)
	}
	layouts, err := layOut(columns, treesOf(describe(columns, nil)), false, "the row")
	if err != nil {
		t.Fatal(err)
	}
	written := writeAll(columns, []row{{Some(int64(7)), 8, Decimal128{9, 0}, "x"}}, nil)
	batch := &Batch{Rows: 1, views: bind(columns, layouts, written, 1)}
	if values := Values[int64](batch.Column("cents")); values[0] != 7 {
		t.Error(values)
	}
	if values := Values[int64](batch.Column("at")); values[0] != 8 {
		t.Error(values)
	}
	if values := Values[Decimal128](batch.Column("fare")); values[0].Low != 9 {
		t.Error(values)
	}
	for name, call := range map[string]func(){
		"float64 of int64":     func() { Values[float64](batch.Column("cents")) },
		"uint64 of int64":      func() { Values[uint64](batch.Column("cents")) },
		"[2]uint64 of decimal": func() { Values[[2]uint64](batch.Column("fare")) },
		"string of text":       func() { Values[string](batch.Column("name")) },
	} {
		if said := panics(call); !strings.Contains(said, "whose values are of Go type") {
			t.Errorf("%s: `%s`", name, said)
		}
	}
}

type oldCounts struct {
	Offers uint64
	Place  Null[place]
}

func TestANullInAnOldStateIsRefusedWithItsColumn(t *testing.T) {
	type nullable struct {
		Other  Null[string]
		Place  Null[place]
		Offers Null[uint64]
	}
	columns, err := columnsFor[nullable]("state")
	if err != nil {
		t.Fatal(err)
	}
	schema := describe(columns, nil)
	taker := Migrations(From(1, func(old *oldCounts) counts { return counts{Offers: old.Offers} }))
	migrate := func(states ...nullable) error {
		_, err := taker.MigrateStates(1, schema, writeAll(columns, states, nil))
		return err
	}
	if err := migrate(nullable{Offers: Some(uint64(1))}, nullable{Offers: Some(uint64(2))}); err != nil {
		t.Error(err)
	}
	failure, is := migrate(nullable{Offers: Some(uint64(1))}, nullable{}).(*Failure)
	if !is || failure.Kind != BadInput || !strings.Contains(failure.Message, "version 1 has a null in column `offers`, in row 1") {
		t.Errorf("%v", failure)
	}
}

type name struct{ Name string }

// keyed gives what a driver accepted, with a state that begins with 100.
type keyed struct{}

func (keyed) Initial() counts { return counts{Offers: 100} }
func (keyed) AccumulateColumns(batch *Batch, keys []name, states []counts, rejects *Rejects) error {
	accepted := batch.Column("accepted")
	for row, group := range batch.Groups {
		if keys[group].Name == "test" {
			rejects.Add(row, &Reject{"test-driver", keys[group].Name})
			continue
		}
		states[group].Offers++
		if accepted.Bool(row) {
			states[group].Accepted++
		}
	}
	return nil
}
func (keyed) Merge(earlier, later *counts) {}
func (keyed) Finish(key *name, counts *counts, _ Bounds, emit func(shareOf)) {
	emit(shareOf{key.Name, counts.Offers, counts.Accepted})
}

type shareOf struct {
	Whose            string
	Offers, Accepted uint64
}

func TestAColumnarWindowSeesItsKeysAndBeginsWithItsInitialState(t *testing.T) {
	window := KeyedColumnarWindowOf[name, offer, counts, shareOf](keyed{})
	row, _ := columnsFor[offer]("row")
	key, _ := columnsFor[name]("key")
	state, _ := columnsFor[counts]("state")
	output, _ := columnsFor[shareOf]("output")
	spec, err := window.Open(&Opening{Config: "{}", Events: []Event{{"offer", describe(row, nil)}}, Key: describe(key, nil)})
	if err != nil {
		t.Fatal(err)
	}
	initial := own[counts](state, spec.Initial)[0]
	if initial != (counts{Offers: 100}) {
		t.Errorf("the initial state is %v", initial)
	}
	keys := writeAll(key, []name{{"ann"}, {"test"}}, nil)
	states := writeAll(state, []counts{initial, initial}, nil)
	updated, err := window.Accumulate(writeAll(row, []offer{{true}, {true}, {false}}, nil), []uint32{0, 1, 0}, keys, states)
	if err != nil || !slices.Equal(updated.Rejects, []Rejected{{1, "test-driver", "test"}}) || !slices.Equal(updated.Changed, []uint32{0}) {
		t.Fatalf("%+v, %v", updated, err)
	}
	bounds := Columns{Rows: 1, Buffers: [][]byte{nil, bytesOf([]int64{0}), nil, bytesOf([]int64{9})}}
	finished, err := window.FinishGroups(writeAll(key, []name{{"ann"}}, nil), bounds, updated.States)
	if err != nil {
		t.Fatal(err)
	}
	if found := own[shareOf](output, finished.Output); !slices.Equal(found, []shareOf{{"ann", 102, 1}}) {
		t.Errorf("%v", found)
	}
}

type misspelt struct{ shares }

func (misspelt) Initial() share { return share{} }

func TestAnInitialStateOfAnotherTypeIsRefused(t *testing.T) {
	_, err := NewDriver[offer, counts, share](WindowOf[offer, counts, share](misspelt{}), "{}")
	if err == nil || !strings.Contains(err.Error(), "Initial") || !strings.Contains(err.Error(), "counts") {
		t.Error(err)
	}
}

type started struct{ shares }

func (started) Initial() counts { return counts{Offers: 5} }

func TestADriverBeginsWithTheInitialState(t *testing.T) {
	driver, err := NewDriver[offer, counts, share](WindowOf[offer, counts, share](started{}), "{}")
	if err != nil {
		t.Fatal(err)
	}
	driver.Group()
	if output, _ := driver.Finish(Bounds{}); !slices.Equal(output, []share{{5}, {5}}) {
		t.Errorf("%v", output)
	}
}
