package penstock

import (
	"errors"
	"fmt"
	"unsafe"
)

// mappers runs a mapper of either form.
type mappers[R, O any] struct {
	author      any
	each        func(row *R, emit func(O)) error
	columnar    func(batch *Batch, emit func(row int, output O), rejects *Rejects) error
	row, output []*column
	layouts     []layout
	rows        []R
}

// MapperOf makes a mapper of its method; package mapper exports what it gives.
func MapperOf[R, O any](author Mapper[R, O]) Mapping {
	return &mappers[R, O]{author: author, each: author.Map}
}

// ColumnarMapperOf is MapperOf for a mapper that gets batches as columns.
func ColumnarMapperOf[R, O any](author ColumnarMapper[R, O]) Mapping {
	return &mappers[R, O]{author: author, columnar: author.MapColumns}
}

func (m *mappers[R, O]) Open(opening *Opening) (*MapperSpec, error) {
	var err error
	if m.row, err = columnsFor[R]("row"); err != nil {
		return nil, err
	}
	if m.output, err = columnsFor[O]("output"); err != nil {
		return nil, err
	}
	if err := configure(m.author, opening.Config); err != nil {
		return nil, err
	}
	if m.layouts, err = selectEvent(opening, m.row); err != nil {
		return nil, err
	}
	return &MapperSpec{Event: opening.Events[0].Name, Columns: namesOf(m.row), Output: describe(m.output, nil)}, nil
}

func (m *mappers[R, O]) MapRows(input Columns) (*Produced, error) {
	batch := &Batch{Rows: input.Rows, views: bind(m.row, m.layouts, input, input.Rows)}
	produced, rejects := &Produced{}, &Rejects{}
	var output []O
	emit := func(row int, one O) {
		output = append(output, one)
		produced.Source = append(produced.Source, uint32(row))
	}
	var err error
	if m.columnar != nil {
		err = m.columnar(batch, emit, rejects)
	} else {
		err = m.loop(batch, emit, rejects, func(count int) {
			output, produced.Source = output[:count], produced.Source[:count]
		}, func() int { return len(output) })
	}
	if err != nil {
		return nil, &Failure{Internal, err.Error()}
	}
	produced.Output, produced.Rejects = writeAll(m.output, output, nil), rejects.rows
	return produced, nil
}

// loop maps row by row. What a row gave before it was rejected is taken back.
func (m *mappers[R, O]) loop(batch *Batch, emit func(int, O), rejects *Rejects, cut func(int), count func() int) error {
	if m.rows == nil {
		m.rows = make([]R, atOnce)
	}
	nulls := batch.HasNulls()
	for first := 0; first < batch.Rows; first += atOnce {
		rows := m.rows[:min(atOnce, batch.Rows-first)]
		readInto(batch.views, first, rows)
		for i := range rows {
			row := first + i
			if nulls {
				if null := batch.NullAt(row); null != nil {
					rejects.Add(row, null)
					continue
				}
			}
			given := count()
			if err := m.each(&rows[i], func(one O) { emit(row, one) }); err != nil {
				var reject *Reject
				if !errors.As(err, &reject) {
					return err
				}
				cut(given)
				rejects.Add(row, reject)
			}
		}
	}
	return nil
}

func int64s(bytes []byte) []int64 {
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(bytes))), len(bytes)/8)
}

// Level is how much a line matters.
type Level uint8

// The levels of lines.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Log writes a line for the operator, as fmt.Sprintf does. Natively it goes to the standard error.
func Log(level Level, format string, values ...any) {
	line := format
	if len(values) > 0 {
		line = fmt.Sprintf(format, values...)
	}
	writeLog(level, line)
}

// Count adds to a counter.
func Count(name string, amount uint64) { writeCount(name, amount) }

// Observe adds a value to a histogram.
func Observe(name string, value float64) { writeObservation(name, value) }
