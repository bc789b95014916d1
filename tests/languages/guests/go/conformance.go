// What every SDK is held against: guest-sdk/CONFORMANCE.md says what it does.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"penstock"
	"penstock/mapper"
	"penstock/migration"
	"penstock/window"
)

// Point is a struct in a struct.
type Point struct {
	X float64
	Y penstock.Null[float64]
}

// Place is a struct with a field of each way of being nested.
type Place struct {
	Name   penstock.Null[string]
	Point  penstock.Null[Point]
	Visits []penstock.Null[int32]
}

// Row has the columns of the event.
type Row struct {
	Command         penstock.Null[string]
	Required        int64
	Boolean         penstock.Null[bool]                                   `penstock:"boolean"`
	Int8            penstock.Null[int8]                                   `penstock:"int8"`
	Int16           penstock.Null[int16]                                  `penstock:"int16"`
	Int32           penstock.Null[int32]                                  `penstock:"int32"`
	Int64           penstock.Null[int64]                                  `penstock:"int64"`
	Uint8           penstock.Null[uint8]                                  `penstock:"uint8"`
	Uint16          penstock.Null[uint16]                                 `penstock:"uint16"`
	Uint32          penstock.Null[uint32]                                 `penstock:"uint32"`
	Uint64          penstock.Null[uint64]                                 `penstock:"uint64"`
	Float16         penstock.Null[penstock.Float16]                       `penstock:"float16"`
	Float32         penstock.Null[float32]                                `penstock:"float32"`
	Float64         penstock.Null[float64]                                `penstock:"float64"`
	Decimal128      penstock.Null[penstock.Decimal128]                    `penstock:"decimal128,decimal128[20, 4]"`
	Decimal256      penstock.Null[penstock.Decimal256]                    `penstock:"decimal256,decimal256[50, 10]"`
	Date32          penstock.Null[penstock.Date]                          `penstock:"date32"`
	Date64          penstock.Null[penstock.DateMillis]                    `penstock:"date64"`
	TimeS           penstock.Null[int32]                                  `penstock:"time_s,time32[s]"`
	TimeMs          penstock.Null[int32]                                  `penstock:"time_ms,time32[ms]"`
	TimeUs          penstock.Null[int64]                                  `penstock:"time_us,time64[us]"`
	TimeNs          penstock.Null[int64]                                  `penstock:"time_ns,time64[ns]"`
	TimestampS      penstock.Null[int64]                                  `penstock:"timestamp_s,timestamp[s, UTC]"`
	TimestampMs     penstock.Null[int64]                                  `penstock:"timestamp_ms,timestamp[ms, UTC]"`
	TimestampUs     penstock.Null[penstock.Timestamp]                     `penstock:"timestamp_us"`
	TimestampNs     penstock.Null[int64]                                  `penstock:"timestamp_ns,timestamp[ns, UTC]"`
	TimestampParis  penstock.Null[int64]                                  `penstock:"timestamp_paris,timestamp[us, Europe/Paris]"`
	TimestampNoZone penstock.Null[int64]                                  `penstock:"timestamp_no_zone,timestamp[us]"`
	DurationS       penstock.Null[int64]                                  `penstock:"duration_s,duration[s]"`
	DurationMs      penstock.Null[int64]                                  `penstock:"duration_ms,duration[ms]"`
	DurationUs      penstock.Null[int64]                                  `penstock:"duration_us,duration[us]"`
	DurationNs      penstock.Null[int64]                                  `penstock:"duration_ns,duration[ns]"`
	FixedBinary     penstock.Null[[5]byte]                                `penstock:"fixed_binary"`
	Utf8            penstock.Null[string]                                 `penstock:"utf8"`
	Binary          penstock.Null[[]byte]                                 `penstock:"binary"`
	LargeUtf8       penstock.Null[string]                                 `penstock:"large_utf8"`
	LargeBinary     penstock.Null[[]byte]                                 `penstock:"large_binary"`
	List            penstock.Null[[]penstock.Null[int64]]                 `penstock:"list"`
	ListUtf8        penstock.Null[[]penstock.Null[string]]                `penstock:"list_utf8"`
	ListOfLists     penstock.Null[[]penstock.Null[[]penstock.Null[bool]]] `penstock:"list_of_lists"`
	LargeList       penstock.Null[[]penstock.Null[int16]]                 `penstock:"large_list"`
	Place           penstock.Null[Place]                                  `penstock:"place"`
	Places          penstock.Null[[]penstock.Null[Place]]                 `penstock:"places"`
}

// Last is the state and the output of the window.
type Last struct {
	Count           uint64
	Sum             int64
	Polynomial      uint64
	Boolean         penstock.Null[bool]                                   `penstock:"boolean"`
	Int8            penstock.Null[int8]                                   `penstock:"int8"`
	Int16           penstock.Null[int16]                                  `penstock:"int16"`
	Int32           penstock.Null[int32]                                  `penstock:"int32"`
	Int64           penstock.Null[int64]                                  `penstock:"int64"`
	Uint8           penstock.Null[uint8]                                  `penstock:"uint8"`
	Uint16          penstock.Null[uint16]                                 `penstock:"uint16"`
	Uint32          penstock.Null[uint32]                                 `penstock:"uint32"`
	Uint64          penstock.Null[uint64]                                 `penstock:"uint64"`
	Float16         penstock.Null[penstock.Float16]                       `penstock:"float16"`
	Float32         penstock.Null[float32]                                `penstock:"float32"`
	Float64         penstock.Null[float64]                                `penstock:"float64"`
	Decimal128      penstock.Null[penstock.Decimal128]                    `penstock:"decimal128,decimal128[20, 4]"`
	Decimal256      penstock.Null[penstock.Decimal256]                    `penstock:"decimal256,decimal256[50, 10]"`
	Date32          penstock.Null[penstock.Date]                          `penstock:"date32"`
	Date64          penstock.Null[penstock.DateMillis]                    `penstock:"date64"`
	TimeS           penstock.Null[int32]                                  `penstock:"time_s,time32[s]"`
	TimeMs          penstock.Null[int32]                                  `penstock:"time_ms,time32[ms]"`
	TimeUs          penstock.Null[int64]                                  `penstock:"time_us,time64[us]"`
	TimeNs          penstock.Null[int64]                                  `penstock:"time_ns,time64[ns]"`
	TimestampS      penstock.Null[int64]                                  `penstock:"timestamp_s,timestamp[s, UTC]"`
	TimestampMs     penstock.Null[int64]                                  `penstock:"timestamp_ms,timestamp[ms, UTC]"`
	TimestampUs     penstock.Null[penstock.Timestamp]                     `penstock:"timestamp_us"`
	TimestampNs     penstock.Null[int64]                                  `penstock:"timestamp_ns,timestamp[ns, UTC]"`
	TimestampParis  penstock.Null[int64]                                  `penstock:"timestamp_paris,timestamp[us, Europe/Paris]"`
	TimestampNoZone penstock.Null[int64]                                  `penstock:"timestamp_no_zone,timestamp[us]"`
	DurationS       penstock.Null[int64]                                  `penstock:"duration_s,duration[s]"`
	DurationMs      penstock.Null[int64]                                  `penstock:"duration_ms,duration[ms]"`
	DurationUs      penstock.Null[int64]                                  `penstock:"duration_us,duration[us]"`
	DurationNs      penstock.Null[int64]                                  `penstock:"duration_ns,duration[ns]"`
	FixedBinary     penstock.Null[[5]byte]                                `penstock:"fixed_binary"`
	Utf8            penstock.Null[string]                                 `penstock:"utf8"`
	Binary          penstock.Null[[]byte]                                 `penstock:"binary"`
	LargeUtf8       penstock.Null[string]                                 `penstock:"large_utf8"`
	LargeBinary     penstock.Null[[]byte]                                 `penstock:"large_binary"`
	List            penstock.Null[[]penstock.Null[int64]]                 `penstock:"list"`
	ListUtf8        penstock.Null[[]penstock.Null[string]]                `penstock:"list_utf8"`
	ListOfLists     penstock.Null[[]penstock.Null[[]penstock.Null[bool]]] `penstock:"list_of_lists"`
	LargeList       penstock.Null[[]penstock.Null[int16]]                 `penstock:"large_list"`
	Place           penstock.Null[Place]                                  `penstock:"place"`
	Places          penstock.Null[[]penstock.Null[Place]]                 `penstock:"places"`
}

// Copied is the output of the mapper.
type Copied struct {
	Copy            uint32
	Required        int64
	Boolean         penstock.Null[bool]                                   `penstock:"boolean"`
	Int8            penstock.Null[int8]                                   `penstock:"int8"`
	Int16           penstock.Null[int16]                                  `penstock:"int16"`
	Int32           penstock.Null[int32]                                  `penstock:"int32"`
	Int64           penstock.Null[int64]                                  `penstock:"int64"`
	Uint8           penstock.Null[uint8]                                  `penstock:"uint8"`
	Uint16          penstock.Null[uint16]                                 `penstock:"uint16"`
	Uint32          penstock.Null[uint32]                                 `penstock:"uint32"`
	Uint64          penstock.Null[uint64]                                 `penstock:"uint64"`
	Float16         penstock.Null[penstock.Float16]                       `penstock:"float16"`
	Float32         penstock.Null[float32]                                `penstock:"float32"`
	Float64         penstock.Null[float64]                                `penstock:"float64"`
	Decimal128      penstock.Null[penstock.Decimal128]                    `penstock:"decimal128,decimal128[20, 4]"`
	Decimal256      penstock.Null[penstock.Decimal256]                    `penstock:"decimal256,decimal256[50, 10]"`
	Date32          penstock.Null[penstock.Date]                          `penstock:"date32"`
	Date64          penstock.Null[penstock.DateMillis]                    `penstock:"date64"`
	TimeS           penstock.Null[int32]                                  `penstock:"time_s,time32[s]"`
	TimeMs          penstock.Null[int32]                                  `penstock:"time_ms,time32[ms]"`
	TimeUs          penstock.Null[int64]                                  `penstock:"time_us,time64[us]"`
	TimeNs          penstock.Null[int64]                                  `penstock:"time_ns,time64[ns]"`
	TimestampS      penstock.Null[int64]                                  `penstock:"timestamp_s,timestamp[s, UTC]"`
	TimestampMs     penstock.Null[int64]                                  `penstock:"timestamp_ms,timestamp[ms, UTC]"`
	TimestampUs     penstock.Null[penstock.Timestamp]                     `penstock:"timestamp_us"`
	TimestampNs     penstock.Null[int64]                                  `penstock:"timestamp_ns,timestamp[ns, UTC]"`
	TimestampParis  penstock.Null[int64]                                  `penstock:"timestamp_paris,timestamp[us, Europe/Paris]"`
	TimestampNoZone penstock.Null[int64]                                  `penstock:"timestamp_no_zone,timestamp[us]"`
	DurationS       penstock.Null[int64]                                  `penstock:"duration_s,duration[s]"`
	DurationMs      penstock.Null[int64]                                  `penstock:"duration_ms,duration[ms]"`
	DurationUs      penstock.Null[int64]                                  `penstock:"duration_us,duration[us]"`
	DurationNs      penstock.Null[int64]                                  `penstock:"duration_ns,duration[ns]"`
	FixedBinary     penstock.Null[[5]byte]                                `penstock:"fixed_binary"`
	Utf8            penstock.Null[string]                                 `penstock:"utf8"`
	Binary          penstock.Null[[]byte]                                 `penstock:"binary"`
	LargeUtf8       penstock.Null[string]                                 `penstock:"large_utf8"`
	LargeBinary     penstock.Null[[]byte]                                 `penstock:"large_binary"`
	List            penstock.Null[[]penstock.Null[int64]]                 `penstock:"list"`
	ListUtf8        penstock.Null[[]penstock.Null[string]]                `penstock:"list_utf8"`
	ListOfLists     penstock.Null[[]penstock.Null[[]penstock.Null[bool]]] `penstock:"list_of_lists"`
	LargeList       penstock.Null[[]penstock.Null[int16]]                 `penstock:"large_list"`
	Place           penstock.Null[Place]                                  `penstock:"place"`
	Places          penstock.Null[[]penstock.Null[Place]]                 `penstock:"places"`
}

func keep[T any](value, later *penstock.Null[T]) {
	if later.Valid {
		*value = *later
	}
}

func (v *Last) replaceRow(later *Row) {
	keep(&v.Boolean, &later.Boolean)
	keep(&v.Int8, &later.Int8)
	keep(&v.Int16, &later.Int16)
	keep(&v.Int32, &later.Int32)
	keep(&v.Int64, &later.Int64)
	keep(&v.Uint8, &later.Uint8)
	keep(&v.Uint16, &later.Uint16)
	keep(&v.Uint32, &later.Uint32)
	keep(&v.Uint64, &later.Uint64)
	keep(&v.Float16, &later.Float16)
	keep(&v.Float32, &later.Float32)
	keep(&v.Float64, &later.Float64)
	keep(&v.Decimal128, &later.Decimal128)
	keep(&v.Decimal256, &later.Decimal256)
	keep(&v.Date32, &later.Date32)
	keep(&v.Date64, &later.Date64)
	keep(&v.TimeS, &later.TimeS)
	keep(&v.TimeMs, &later.TimeMs)
	keep(&v.TimeUs, &later.TimeUs)
	keep(&v.TimeNs, &later.TimeNs)
	keep(&v.TimestampS, &later.TimestampS)
	keep(&v.TimestampMs, &later.TimestampMs)
	keep(&v.TimestampUs, &later.TimestampUs)
	keep(&v.TimestampNs, &later.TimestampNs)
	keep(&v.TimestampParis, &later.TimestampParis)
	keep(&v.TimestampNoZone, &later.TimestampNoZone)
	keep(&v.DurationS, &later.DurationS)
	keep(&v.DurationMs, &later.DurationMs)
	keep(&v.DurationUs, &later.DurationUs)
	keep(&v.DurationNs, &later.DurationNs)
	keep(&v.FixedBinary, &later.FixedBinary)
	keep(&v.Utf8, &later.Utf8)
	keep(&v.Binary, &later.Binary)
	keep(&v.LargeUtf8, &later.LargeUtf8)
	keep(&v.LargeBinary, &later.LargeBinary)
	keep(&v.List, &later.List)
	keep(&v.ListUtf8, &later.ListUtf8)
	keep(&v.ListOfLists, &later.ListOfLists)
	keep(&v.LargeList, &later.LargeList)
	keep(&v.Place, &later.Place)
	keep(&v.Places, &later.Places)
}

func (v *Last) replace(later *Last) {
	keep(&v.Boolean, &later.Boolean)
	keep(&v.Int8, &later.Int8)
	keep(&v.Int16, &later.Int16)
	keep(&v.Int32, &later.Int32)
	keep(&v.Int64, &later.Int64)
	keep(&v.Uint8, &later.Uint8)
	keep(&v.Uint16, &later.Uint16)
	keep(&v.Uint32, &later.Uint32)
	keep(&v.Uint64, &later.Uint64)
	keep(&v.Float16, &later.Float16)
	keep(&v.Float32, &later.Float32)
	keep(&v.Float64, &later.Float64)
	keep(&v.Decimal128, &later.Decimal128)
	keep(&v.Decimal256, &later.Decimal256)
	keep(&v.Date32, &later.Date32)
	keep(&v.Date64, &later.Date64)
	keep(&v.TimeS, &later.TimeS)
	keep(&v.TimeMs, &later.TimeMs)
	keep(&v.TimeUs, &later.TimeUs)
	keep(&v.TimeNs, &later.TimeNs)
	keep(&v.TimestampS, &later.TimestampS)
	keep(&v.TimestampMs, &later.TimestampMs)
	keep(&v.TimestampUs, &later.TimestampUs)
	keep(&v.TimestampNs, &later.TimestampNs)
	keep(&v.TimestampParis, &later.TimestampParis)
	keep(&v.TimestampNoZone, &later.TimestampNoZone)
	keep(&v.DurationS, &later.DurationS)
	keep(&v.DurationMs, &later.DurationMs)
	keep(&v.DurationUs, &later.DurationUs)
	keep(&v.DurationNs, &later.DurationNs)
	keep(&v.FixedBinary, &later.FixedBinary)
	keep(&v.Utf8, &later.Utf8)
	keep(&v.Binary, &later.Binary)
	keep(&v.LargeUtf8, &later.LargeUtf8)
	keep(&v.LargeBinary, &later.LargeBinary)
	keep(&v.List, &later.List)
	keep(&v.ListUtf8, &later.ListUtf8)
	keep(&v.ListOfLists, &later.ListOfLists)
	keep(&v.LargeList, &later.LargeList)
	keep(&v.Place, &later.Place)
	keep(&v.Places, &later.Places)
}

func (v *Copied) replace(later *Row) {
	keep(&v.Boolean, &later.Boolean)
	keep(&v.Int8, &later.Int8)
	keep(&v.Int16, &later.Int16)
	keep(&v.Int32, &later.Int32)
	keep(&v.Int64, &later.Int64)
	keep(&v.Uint8, &later.Uint8)
	keep(&v.Uint16, &later.Uint16)
	keep(&v.Uint32, &later.Uint32)
	keep(&v.Uint64, &later.Uint64)
	keep(&v.Float16, &later.Float16)
	keep(&v.Float32, &later.Float32)
	keep(&v.Float64, &later.Float64)
	keep(&v.Decimal128, &later.Decimal128)
	keep(&v.Decimal256, &later.Decimal256)
	keep(&v.Date32, &later.Date32)
	keep(&v.Date64, &later.Date64)
	keep(&v.TimeS, &later.TimeS)
	keep(&v.TimeMs, &later.TimeMs)
	keep(&v.TimeUs, &later.TimeUs)
	keep(&v.TimeNs, &later.TimeNs)
	keep(&v.TimestampS, &later.TimestampS)
	keep(&v.TimestampMs, &later.TimestampMs)
	keep(&v.TimestampUs, &later.TimestampUs)
	keep(&v.TimestampNs, &later.TimestampNs)
	keep(&v.TimestampParis, &later.TimestampParis)
	keep(&v.TimestampNoZone, &later.TimestampNoZone)
	keep(&v.DurationS, &later.DurationS)
	keep(&v.DurationMs, &later.DurationMs)
	keep(&v.DurationUs, &later.DurationUs)
	keep(&v.DurationNs, &later.DurationNs)
	keep(&v.FixedBinary, &later.FixedBinary)
	keep(&v.Utf8, &later.Utf8)
	keep(&v.Binary, &later.Binary)
	keep(&v.LargeUtf8, &later.LargeUtf8)
	keep(&v.LargeBinary, &later.LargeBinary)
	keep(&v.List, &later.List)
	keep(&v.ListUtf8, &later.ListUtf8)
	keep(&v.ListOfLists, &later.ListOfLists)
	keep(&v.LargeList, &later.LargeList)
	keep(&v.Place, &later.Place)
	keep(&v.Places, &later.Places)
}

// obey does what the row's command says.
func obey(row *Row) error {
	if !row.Command.Valid {
		return nil
	}
	text := "nothing"
	if row.Utf8.Valid {
		text = row.Utf8.V
	}
	switch row.Command.V {
	case "reject":
		return penstock.Refuse("refused", "a row of "+text)
	case "fail":
		panic("asked to fail")
	case "log":
		penstock.Log(penstock.Info, "hello "+text)
	case "count":
		penstock.Count("rows_counted", 1)
		seen := 0.0
		if row.Float64.Valid {
			seen = row.Float64.V
		}
		penstock.Observe("float64_seen", seen)
	}
	return nil
}

// Key is the window's key.
type Key struct{ Key int64 }

// Window is the window; Fails says which of its functions is to break off.
type Window struct{ Fails string }

func (w *Window) failIn(function string) {
	if w.Fails == function {
		panic("asked to fail")
	}
}

// Open reads the configuration.
func (w *Window) Open(config []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(w); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "open", "merge", "finish", "migrate"}, w.Fails) {
		return fmt.Errorf("there is no function %s", w.Fails)
	}
	w.failIn("open")
	return nil
}

// StateVersion is 3.
func (*Window) StateVersion() uint32 { return 3 }

// Accumulate adds a row.
func (*Window) Accumulate(key *Key, last *Last, row *Row) error {
	if row.Command.Valid && row.Command.V == "reject" {
		last.Count += 1000
		last.Utf8.Valid = false
	}
	if err := obey(row); err != nil {
		return err
	}
	last.Count++
	last.Sum += row.Required
	last.Polynomial = last.Polynomial*31 + uint64(row.Required) + uint64(key.Key)
	last.replaceRow(row)
	if row.Command.Valid && row.Command.V == "append" && last.List.Valid {
		last.List.V = append(last.List.V, penstock.Some(row.Required))
	}
	return nil
}

// Merge adds a later state.
func (w *Window) Merge(earlier, later *Last) {
	w.failIn("merge")
	power, base := uint64(1), uint64(31)
	for left := later.Count; left > 0; left >>= 1 {
		if left&1 == 1 {
			power *= base
		}
		base *= base
	}
	earlier.Count += later.Count
	earlier.Sum += later.Sum
	earlier.Polynomial = earlier.Polynomial*power + later.Polynomial
	earlier.replace(later)
}

// Finish gives the state.
func (w *Window) Finish(key *Key, last *Last, bounds penstock.Bounds, emit func(Last)) {
	w.failIn("finish")
	if last.Count > 0 {
		last.Sum += key.Key + 3*bounds.Start + 5*bounds.End
		emit(*last)
	}
}

// Mapper is the mapper.
type Mapper struct{}

// Map gives copies.
func (Mapper) Map(row *Row, emit func(Copied)) error {
	if err := obey(row); err != nil {
		return err
	}
	copied := Copied{Required: row.Required}
	copied.replace(row)
	for copied.Copy = 0; copied.Copy < uint32(row.Required&3); copied.Copy++ {
		emit(copied)
	}
	return nil
}

// Old is a state of an older version.
type Old struct{ Count uint64 }

func (w *Window) takeOver(old *Old) Last {
	w.failIn("migrate")
	return Last{Count: old.Count}
}

func init() {
	conformance := &Window{}
	window.ExportKeyed[Key, Row, Last, Last](conformance)
	migration.Export(penstock.From(1, conformance.takeOver), penstock.From(2, conformance.takeOver))
	mapper.Export[Row, Copied](Mapper{})
}

func main() {}
