// Package window makes a component of a window transform: importing it exports the contract's windowed interface.
package window

import (
	"fmt"
	"runtime"

	"penstock"
)

var exported penstock.Windowed

// place is the file and line that exported it, for messages.
var place string

func export(window penstock.Windowed) {
	exported = window
	if _, file, line, known := runtime.Caller(2); known {
		place = fmt.Sprintf("%s:%d", file, line)
	}
}

// migrates is set by package migration.
var migrates func() []uint32

// Export exports a window. Call it in init.
func Export[R, S, O any](author penstock.Window[R, S, O]) {
	export(penstock.WindowOf[R, S, O](author))
}

// ExportKeyed exports a window that sees its keys.
func ExportKeyed[K, R, S, O any](author penstock.KeyedWindow[K, R, S, O]) {
	export(penstock.KeyedWindowOf[K, R, S, O](author))
}

// ExportColumnar exports a window that gets batches as columns.
func ExportColumnar[R, S, O any](author penstock.ColumnarWindow[R, S, O]) {
	export(penstock.ColumnarWindowOf[R, S, O](author))
}

// ExportKeyedColumnar exports a window that gets batches as columns, and sees its keys.
func ExportKeyedColumnar[K, R, S, O any](author penstock.KeyedColumnarWindow[K, R, S, O]) {
	export(penstock.KeyedColumnarWindowOf[K, R, S, O](author))
}

// MigratesFrom is for package migration alone.
func MigratesFrom(versions func() []uint32) { migrates = versions }
