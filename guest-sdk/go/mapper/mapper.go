// Package mapper makes a component of a mapper: importing it exports the contract's mapper interface.
package mapper

import (
	"fmt"
	"runtime"

	"penstock"
)

var exported penstock.Mapping

// place is the file and line that exported it, for messages.
var place string

func export(mapper penstock.Mapping) {
	exported = mapper
	if _, file, line, known := runtime.Caller(2); known {
		place = fmt.Sprintf("%s:%d", file, line)
	}
}

// Export exports a mapper. Call it in init. A window that the program exports too sees what the mapper makes of rows.
func Export[R, O any](author penstock.Mapper[R, O]) {
	export(penstock.MapperOf[R, O](author))
}

// ExportColumnar exports a mapper that gets batches as columns.
func ExportColumnar[R, O any](author penstock.ColumnarMapper[R, O]) {
	export(penstock.ColumnarMapperOf[R, O](author))
}
