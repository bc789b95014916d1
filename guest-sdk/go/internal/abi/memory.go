//go:build wasm

// Package abi is the canonical ABI of the contract: arguments out of linear memory, and results into it. Pointers there
// have 32 bits, whatever Go's have, so everything is laid out by hand.
package abi

import (
	"fmt"
	"math/bits"
	"strings"
	"unsafe"

	"penstock"
)

// kept is what the host has pointers to until the call is over; free is what it had before, by the power of two.
var (
	kept [][]byte
	free [33][][]byte
)

// alloc gives memory that stays where it is until End. Its bytes are whatever they were.
func alloc(size int) []byte {
	if size == 0 {
		return nil
	}
	class := bits.Len(uint(max(size, 64) - 1))
	var memory []byte
	if last := len(free[class]) - 1; last >= 0 {
		memory, free[class] = free[class][last], free[class][:last]
	} else {
		memory = make([]byte, 1<<class)
	}
	kept = append(kept, memory)
	return memory[:size]
}

// nothing is where memory without bytes is: at an address that Go knows, and aligned for everything.
var nothing [2]uint64

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, had, align, size uint32) unsafe.Pointer {
	memory := alloc(int(size))
	if old != nil && had > 0 {
		copy(memory, unsafe.Slice((*byte)(old), had))
	}
	if size == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(unsafe.SliceData(memory))
}

// results are Go's own memory that the host reads.
var results []any

// End is called when the host has read the result: all memory of the call goes.
func End() {
	for _, memory := range kept {
		class := bits.Len(uint(len(memory) - 1))
		free[class] = append(free[class], memory)
	}
	// What stays in the arrays behind the slices would not be collected.
	clear(kept)
	clear(results)
	kept, results = kept[:0], results[:0]
}

// Result is a record in linear memory.
type Result []byte

// NewResult makes one of zeros.
func NewResult(size int) Result {
	memory := make([]byte, size)
	results = append(results, memory)
	return memory
}

// Pointer is where it is.
func (r Result) Pointer() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(r)) }

func (r Result) u32(at int, value uint32) { *(*uint32)(unsafe.Pointer(&r[at])) = value }

// list notes a list of count items that begins at memory.
func list[T any](r Result, at int, items []T, count int) {
	if count > 0 {
		results = append(results, items)
		r.u32(at, uint32(uintptr(unsafe.Pointer(unsafe.SliceData(items)))))
	}
	r.u32(at+4, uint32(count))
}

func (r Result) text(at int, text string) { list(r, at, []byte(text), len(text)) }

func (r Result) bytes(at int, bytes []byte) { list(r, at, bytes, len(bytes)) }

func (r Result) u32s(at int, numbers []uint32) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(numbers))), len(numbers)*4)
	list(r, at, bytes, len(bytes))
}

func (r Result) columns(at int, columns penstock.Columns) {
	r.u32(at, uint32(columns.Rows))
	buffers := NewResult(len(columns.Buffers) * 8)
	for i, buffer := range columns.Buffers {
		buffers.bytes(i*8, buffer)
	}
	list(r, at+4, buffers, len(columns.Buffers))
}

func (r Result) schema(at int, schema []penstock.Field) {
	const size = 32
	fields := NewResult(len(schema) * size)
	for i, field := range schema {
		fields.text(i*size, field.Name)
		fields.text(i*size+8, field.Format)
		if field.Nullable {
			fields[i*size+16] = 1
		}
		fields.u32(i*size+20, uint32(field.Children))
	}
	list(r, at, fields, len(schema))
}

func (r Result) needs(at int, event string, columns []string) {
	names := NewResult(len(columns) * 8)
	for i, name := range columns {
		names.text(i*8, name)
	}
	needs := NewResult(16)
	needs.text(0, event)
	list(needs, 8, names, len(columns))
	list(r, at, needs, 1)
}

func (r Result) rejects(at int, rejects []penstock.Rejected) {
	const size = 20
	rows := NewResult(len(rejects) * size)
	for i, reject := range rejects {
		rows.u32(i*size, uint32(reject.Row))
		rows.text(i*size+4, reject.Code)
		rows.text(i*size+12, reject.Detail)
	}
	list(r, at, rows, len(rejects))
}

// Text is an argument.
func Text(data unsafe.Pointer, length uint32) string {
	return strings.Clone(unsafe.String((*byte)(data), length))
}

func pair(data unsafe.Pointer, at int) (unsafe.Pointer, uint32) {
	numbers := (*[2]uint32)(unsafe.Add(data, at))
	return unsafe.Pointer(uintptr(numbers[0])), numbers[1]
}

// Columns are an argument. Their buffers stay in the memory of the call.
func Columns(rows uint32, buffers unsafe.Pointer, count uint32) penstock.Columns {
	columns := penstock.Columns{Rows: int(rows), Buffers: make([][]byte, count)}
	for i := range columns.Buffers {
		if data, length := pair(buffers, i*8); length > 0 {
			columns.Buffers[i] = unsafe.Slice((*byte)(data), length)
		}
	}
	return columns
}

// U32s are an argument that crosses as bytes.
func U32s(data unsafe.Pointer, bytes uint32) []uint32 {
	if bytes == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(data), bytes/4)
}

// Schema is an argument.
func Schema(data unsafe.Pointer, count uint32) []penstock.Field {
	schema := make([]penstock.Field, count)
	for i := range schema {
		at := unsafe.Add(data, i*32)
		schema[i] = penstock.Field{
			Name:     Text(pair(at, 0)),
			Format:   Text(pair(at, 8)),
			Nullable: *(*byte)(unsafe.Add(at, 16)) == 1,
			Children: int(*(*uint32)(unsafe.Add(at, 20))),
		}
	}
	return schema
}

// Opening is the argument of both functions that open.
func Opening(config unsafe.Pointer, length uint32, events unsafe.Pointer, eventCount uint32, key unsafe.Pointer, keyCount uint32) *penstock.Opening {
	opening := &penstock.Opening{Config: Text(config, length), Key: Schema(key, keyCount)}
	for i := range int(eventCount) {
		at := unsafe.Add(events, i*16)
		opening.Events = append(opening.Events, penstock.Event{Name: Text(pair(at, 0)), Schema: Schema(pair(at, 8))})
	}
	return opening
}

// Call runs what the author wrote. A panic becomes a failure that says where it was.
func Call[T any](size int, call func() (T, error), lay func(Result, T)) (made unsafe.Pointer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			made = failed(&penstock.Failure{Kind: penstock.Internal, Message: fmt.Sprintf("panicked at %s: %v", place(), panicked)})
		}
	}()
	value, err := call()
	if err != nil {
		return failed(err)
	}
	result := NewResult(size)
	lay(result, value)
	return result.Pointer()
}

func failed(err error) unsafe.Pointer {
	failure, is := err.(*penstock.Failure)
	if !is {
		failure = &penstock.Failure{Kind: penstock.Internal, Message: err.Error()}
	}
	// As large as the largest result, so that the host finds memory wherever it looks.
	result := NewResult(64)
	result[0] = 1
	result[4] = byte(failure.Kind)
	result.text(8, failure.Message)
	return result.Pointer()
}

// At adds to a misfit where the transform is that has it.
func At(err error, place string) error {
	failure, is := err.(*penstock.Failure)
	if !is || failure.Kind != penstock.BadInput || place == "" {
		return err
	}
	return &penstock.Failure{Kind: failure.Kind, Message: failure.Message + " (the transform that " + place + " exports)"}
}

// LayWindowSpec lays out a result of open-windowed.
func LayWindowSpec(r Result, spec *penstock.WindowSpec) {
	r.needs(4, spec.Event, spec.Columns)
	r.schema(12, spec.State)
	r.u32(20, spec.StateVersion)
	list(r, 24, spec.MigratesFrom, len(spec.MigratesFrom))
	r.columns(32, spec.Initial)
	r.schema(44, spec.Output)
}

// LayMapperSpec lays out a result of open-mapper.
func LayMapperSpec(r Result, spec *penstock.MapperSpec) {
	r.needs(4, spec.Event, spec.Columns)
	r.schema(12, spec.Output)
}

// LayUpdated lays out a result of accumulate.
func LayUpdated(r Result, updated *penstock.Updated) {
	r.columns(4, updated.States)
	if updated.Changed != nil {
		r[16] = 1
		r.u32s(20, updated.Changed)
	}
	r.rejects(28, updated.Rejects)
}

// LayColumns lays out a result that is columns alone.
func LayColumns(r Result, columns penstock.Columns) { r.columns(4, columns) }

// LayFinished lays out a result of finish-groups.
func LayFinished(r Result, produced *penstock.Produced) {
	r.columns(4, produced.Output)
	r.u32s(16, produced.Source)
}

// LayMapped lays out a result of map-rows.
func LayMapped(r Result, produced *penstock.Produced) {
	LayFinished(r, produced)
	r.rejects(24, produced.Rejects)
}
