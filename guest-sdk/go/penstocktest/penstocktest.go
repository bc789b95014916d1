// Package penstocktest runs transforms natively in tests: through columns, as in a component, without WebAssembly.
package penstocktest

import (
	"testing"

	"penstock"
)

// Window drives a window with one group, which is number 0, and as many more as Group makes.
type Window[R, S, O any] struct {
	t      testing.TB
	driver *penstock.Driver[R, S, O]
}

// NewWindow opens a window with a configuration (JSON; "{}" for none).
func NewWindow[R, S, O any](t testing.TB, author penstock.Window[R, S, O], config string) *Window[R, S, O] {
	t.Helper()
	driver, err := penstock.NewDriver[R, S, O](penstock.WindowOf[R, S, O](author), config)
	if err != nil {
		t.Fatal(err)
	}
	return &Window[R, S, O]{t, driver}
}

// NewColumnarWindow is NewWindow for a window that gets batches as columns.
func NewColumnarWindow[R, S, O any](t testing.TB, author penstock.ColumnarWindow[R, S, O], config string) *Window[R, S, O] {
	t.Helper()
	driver, err := penstock.NewDriver[R, S, O](penstock.ColumnarWindowOf[R, S, O](author), config)
	if err != nil {
		t.Fatal(err)
	}
	return &Window[R, S, O]{t, driver}
}

// Group adds a group, and gives its number.
func (w *Window[R, S, O]) Group() int { return w.driver.Group() }

// Accumulate adds rows to a group, and gives the rejects.
func (w *Window[R, S, O]) Accumulate(group int, rows ...R) []penstock.Rejected {
	w.t.Helper()
	rejects, err := w.driver.Accumulate(group, rows)
	if err != nil {
		w.t.Fatal(err)
	}
	return rejects
}

// Merge adds the state of a later group to that of an earlier one.
func (w *Window[R, S, O]) Merge(earlier, later int) {
	w.t.Helper()
	if err := w.driver.Merge(earlier, later); err != nil {
		w.t.Fatal(err)
	}
}

// Finish gives the output of all groups.
func (w *Window[R, S, O]) Finish() []O {
	w.t.Helper()
	output, err := w.driver.Finish(penstock.Bounds{})
	if err != nil {
		w.t.Fatal(err)
	}
	return output
}

// Map opens a mapper with a configuration, and maps rows.
func Map[R, O any](t testing.TB, author penstock.Mapper[R, O], config string, rows ...R) (output []O, source []uint32, rejects []penstock.Rejected) {
	t.Helper()
	output, produced, err := penstock.DriveMapper[R, O](penstock.MapperOf[R, O](author), config, rows)
	if err != nil {
		t.Fatal(err)
	}
	return output, produced.Source, produced.Rejects
}
