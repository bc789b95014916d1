// Package penstock is for writing Penstock transforms in Go.
//
// A transform says with structs which columns it wants, what it remembers and what comes out, and has a method
// for each thing to do:
//
//	type Offer struct{ Accepted bool }
//	type Counts struct{ Offers, Accepted uint64 }
//	type Share struct{ Share float64 }
//
//	type Shares struct{}
//
//	func (Shares) Accumulate(counts *Counts, offer *Offer) error { ... }
//	func (Shares) Merge(earlier, later *Counts)                  { ... }
//	func (Shares) Finish(counts *Counts, _ penstock.Bounds, emit func(Share)) { ... }
//
//	func init() { window.Export[Offer, Counts, Share](Shares{}) }
//	func main() {}
//
// A field is the column of its name in snake_case, or of the one in its tag: `penstock:"accepted"`. Its type says
// the column's; where several columns have the same Go type, the tag says it as penstock.toml does:
// `penstock:"at,timestamp[us, UTC]"` on an int64. Null[T] takes nulls. A row with a null in another field is
// rejected before the transform sees it.
//
// Texts, bytes and lists of a row lie in the memory of the call, and must not be kept beyond it.
package penstock

import "fmt"

// Version is that of the contract which the SDK speaks.
const Version = "0.1.0"

// Null is a value that may be null. V counts only where Valid is true.
type Null[T any] struct {
	V     T
	Valid bool
}

// Some is a value that is not null.
func Some[T any](value T) Null[T] { return Null[T]{V: value, Valid: true} }

func (Null[T]) isNull() {}

// Date is a day: days since 1970-01-01. Its column is date32.
type Date int32

// DateMillis is a day in milliseconds since 1970-01-01. Its column is date64.
type DateMillis int64

// Timestamp is an instant: microseconds since 1970-01-01T00:00:00Z. Its column is timestamp[us, UTC].
type Timestamp int64

// Float16 holds the bits of a number of 16 bits.
type Float16 uint16

// Decimal128 is the unscaled whole number of a decimal, in two's complement. The tag says precision and scale:
// `penstock:"fare,decimal128[12, 2]"`.
type Decimal128 struct {
	Low  uint64
	High int64
}

// Decimal256 is like Decimal128, with the least significant word first.
type Decimal256 [4]uint64

// Bounds are those of a window, in microseconds since 1970-01-01T00:00:00Z: Start is inside it, End is not.
type Bounds struct{ Start, End int64 }

// Reject is a row that a transform refuses, as an error. The host counts rejects by their code.
type Reject struct {
	// Code is short and stable: letters, digits, - and _.
	Code string
	// Detail is for a person.
	Detail string
}

func (r *Reject) Error() string { return r.Code + ": " + r.Detail }

// Refuse refuses a row: return it from Accumulate or Map. The row leaves no trace in the state. (What a slice of the
// state pointed to must not be overwritten before; appending is fine.) Any other error fails the call, and the run.
func Refuse(code, detail string, values ...any) error {
	if len(values) > 0 {
		detail = fmt.Sprintf(detail, values...)
	}
	return &Reject{Code: code, Detail: detail}
}

// Opener is what a transform with a configuration has. Without it, any configuration is refused.
type Opener interface {
	// Open reads the pipeline's config, which is JSON; an error says what is wrong with it.
	Open(config []byte) error
}

// Versioned is what a transform has whose states are not of version 1.
type Versioned interface {
	// StateVersion rises whenever the fields of the state, or what they mean, change.
	StateVersion() uint32
}

// Starter is what a window has whose groups do not begin with zeros.
type Starter[S any] interface {
	// Initial is what a group begins with. Merging it with another state must change nothing.
	Initial() S
}

// Window is a keyed aggregation over windows of time, of rows R, states S and outputs O.
type Window[R, S, O any] interface {
	// Accumulate adds a row to a state, or refuses it.
	Accumulate(state *S, row *R) error
	// Merge adds the state of a later slice of time to that of an earlier one. It is associative.
	Merge(earlier, later *S)
	// Finish gives the rows of a window that has closed.
	Finish(state *S, bounds Bounds, emit func(O))
}

// KeyedWindow is a Window that sees the key of each group: K has a field for each key column that it looks at.
type KeyedWindow[K, R, S, O any] interface {
	// Accumulate adds a row to a state, or refuses it.
	Accumulate(key *K, state *S, row *R) error
	// Merge adds the state of a later slice of time to that of an earlier one. It is associative.
	Merge(earlier, later *S)
	// Finish gives the rows of a window that has closed.
	Finish(key *K, state *S, bounds Bounds, emit func(O))
}

// ColumnarWindow is a Window that gets a batch as columns, and upholds what the SDK otherwise does: a row with a null
// where there may be none is rejected, a rejected row changes no state, each group sees its rows in their order.
type ColumnarWindow[R, S, O any] interface {
	// AccumulateColumns adds rows to states, of which there is one for each group.
	AccumulateColumns(batch *Batch, states []S, rejects *Rejects) error
	// Merge adds the state of a later slice of time to that of an earlier one. It is associative.
	Merge(earlier, later *S)
	// Finish gives the rows of a window that has closed.
	Finish(state *S, bounds Bounds, emit func(O))
}

// KeyedColumnarWindow is a ColumnarWindow that sees the key of each group.
type KeyedColumnarWindow[K, R, S, O any] interface {
	// AccumulateColumns adds rows to states, of which there is one for each group, and so there is of keys.
	AccumulateColumns(batch *Batch, keys []K, states []S, rejects *Rejects) error
	// Merge adds the state of a later slice of time to that of an earlier one. It is associative.
	Merge(earlier, later *S)
	// Finish gives the rows of a window that has closed.
	Finish(key *K, state *S, bounds Bounds, emit func(O))
}

// Mapper derives columns, leaves rows out, and makes several of one.
type Mapper[R, O any] interface {
	// Map gives the rows that become of one, or refuses it.
	Map(row *R, emit func(O)) error
}

// ColumnarMapper is a Mapper that gets a batch as columns.
type ColumnarMapper[R, O any] interface {
	// MapColumns gives rows with the number of the row that each came from, which never falls.
	MapColumns(batch *Batch, emit func(row int, output O), rejects *Rejects) error
}

// Rejects collects the rows of a batch that a columnar transform refuses.
type Rejects struct{ rows []Rejected }

// Rejected is a row that was refused.
type Rejected struct {
	Row    int
	Code   string
	Detail string
}

// Add refuses a row: in rising order, each row once, and without changing any state.
func (r *Rejects) Add(row int, reject *Reject) {
	r.rows = append(r.rows, Rejected{Row: row, Code: reject.Code, Detail: reject.Detail})
}
