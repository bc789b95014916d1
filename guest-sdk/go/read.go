package penstock

import (
	"fmt"
	"reflect"
	"unsafe"
)

// View is a column of a batch.
type View struct {
	column   *column
	length   int
	validity []byte // empty: there are no nulls
	values   []byte
	offsets  []byte
	large    bool
	children []View
}

// Len is the number of values.
func (v *View) Len() int { return v.length }

// HasNulls tells whether any value is null.
func (v *View) HasNulls() bool { return len(v.validity) > 0 }

// IsNull tells whether a value is null.
func (v *View) IsNull(row int) bool {
	return len(v.validity) > 0 && v.validity[row>>3]>>(row&7)&1 == 0
}

// Bool is a value of a column of bool.
func (v *View) Bool(row int) bool { return v.values[row>>3]>>(row&7)&1 == 1 }

// Bits are all values of a column of bool, eight a byte, the first in the lowest bit.
func (v *View) Bits() []byte { return v.values }

// Text is a value of a column of text. It must not be kept beyond the call.
func (v *View) Text(row int) string {
	bytes := v.Bytes(row)
	return unsafe.String(unsafe.SliceData(bytes), len(bytes))
}

// Bytes is a value of a column of text or bytes. It must not be kept beyond the call.
func (v *View) Bytes(row int) []byte {
	start, end := v.offset(row), v.offset(row+1)
	return v.values[start:end:end]
}

// Items is where the items of a list are in Inner(0).
func (v *View) Items(row int) (start, end int) { return v.offset(row), v.offset(row + 1) }

// Inner is the column of a list's items, or a field of a struct.
func (v *View) Inner(number int) *View { return &v.children[number] }

// Values are all values of a column of fixed width, such as int64: T is what the row's field is, without Null.
func Values[T any](v *View) []T {
	of := reflect.TypeFor[T]()
	if v.column.kind != kindFixed || of.Kind() != v.column.of.Kind() || !of.ConvertibleTo(v.column.of) {
		panic(fmt.Sprintf("penstock.Values: column `%s` is %s, whose values are of Go type %v, not %v", v.column.name, typeName(v.column.format), v.column.of, of))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v.values))), v.length)
}

func (v *View) offset(at int) int {
	if v.large {
		return int(*(*int64)(unsafe.Pointer(&v.offsets[at*8])))
	}
	return int(*(*int32)(unsafe.Pointer(&v.offsets[at*4])))
}

func bind(columns []*column, layouts []layout, from Columns, length int) []View {
	views := make([]View, len(columns))
	for i, c := range columns {
		buffers := from.Buffers[layouts[i].first:]
		view := &views[i]
		view.column, view.length, view.validity, view.large = c, length, buffers[0], layouts[i].large
		switch c.kind {
		case kindStruct:
			view.children = bind(c.children, layouts[i].children, from, length)
		case kindList:
			view.offsets = buffers[1]
			view.children = bind([]*column{c.item}, layouts[i].children, from, view.offset(length))
		case kindText, kindBytes:
			view.offsets, view.values = buffers[1], buffers[2]
		default:
			view.values = buffers[1]
		}
	}
	return views
}

type sliceOf struct {
	data     unsafe.Pointer
	len, cap int
}

func each[T any](v *View, from, count int, to unsafe.Pointer, stride uintptr) {
	values := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v.values))), v.length)[from : from+count]
	for _, value := range values {
		*(*T)(to) = value
		to = unsafe.Add(to, stride)
	}
}

// read puts count values, from the row on, into structs that are stride bytes apart.
func (v *View) read(from, count int, structs unsafe.Pointer, stride uintptr) {
	if count == 0 {
		return
	}
	c := v.column
	if c.nullable {
		to := unsafe.Add(structs, c.has)
		for row := from; row < from+count; row++ {
			*(*bool)(to) = !v.IsNull(row)
			to = unsafe.Add(to, stride)
		}
	}
	to := unsafe.Add(structs, c.value)
	switch c.kind {
	case kindBool:
		for row := from; row < from+count; row++ {
			*(*bool)(to) = v.Bool(row)
			to = unsafe.Add(to, stride)
		}
	case kindText:
		for row := from; row < from+count; row++ {
			*(*string)(to) = v.Text(row)
			to = unsafe.Add(to, stride)
		}
	case kindBytes:
		for row := from; row < from+count; row++ {
			*(*[]byte)(to) = v.Bytes(row)
			to = unsafe.Add(to, stride)
		}
	case kindStruct:
		for i := range v.children {
			v.children[i].read(from, count, to, stride)
		}
	case kindList:
		first := v.offset(from)
		items := v.offset(from+count) - first
		size := c.of.Elem().Size()
		data := reflect.MakeSlice(c.of, items, items).UnsafePointer()
		v.children[0].read(first, items, data, size)
		for row := from; row < from+count; row++ {
			start, end := v.offset(row), v.offset(row+1)
			made := sliceOf{len: end - start, cap: end - start}
			if items > 0 && end > start {
				made.data = unsafe.Add(data, uintptr(start-first)*size)
			} else {
				made.data = data
			}
			*(*sliceOf)(to) = made
			to = unsafe.Add(to, stride)
		}
	default:
		switch c.width {
		case 1:
			each[uint8](v, from, count, to, stride)
		case 2:
			each[uint16](v, from, count, to, stride)
		case 4:
			each[uint32](v, from, count, to, stride)
		case 8:
			each[uint64](v, from, count, to, stride)
		case 16:
			each[[2]uint64](v, from, count, to, stride)
		case 32:
			each[[4]uint64](v, from, count, to, stride)
		default:
			for row := uintptr(from); row < uintptr(from+count); row++ {
				copy(unsafe.Slice((*byte)(to), c.width), v.values[row*c.width:])
				to = unsafe.Add(to, stride)
			}
		}
	}
}

// readInto fills structs with the rows from the first on.
func readInto[T any](views []View, from int, structs []T) {
	if len(structs) == 0 {
		return
	}
	for i := range views {
		views[i].read(from, len(structs), unsafe.Pointer(unsafe.SliceData(structs)), unsafe.Sizeof(structs[0]))
	}
}

// hasNulls tells whether there are nulls where the structs take none.
func hasNulls(views []View) bool {
	for i := range views {
		v := &views[i]
		if !v.column.nullable && v.HasNulls() || hasNulls(v.children) {
			return true
		}
	}
	return false
}

// nullIn is the path of something in a row that is null and may not be; empty if there is none.
func nullIn(views []View, row int) string {
	for i := range views {
		v := &views[i]
		if v.IsNull(row) {
			if !v.column.nullable {
				return v.column.name
			}
			continue
		}
		switch v.column.kind {
		case kindStruct:
			if inner := nullIn(v.children, row); inner != "" {
				return v.column.name + "." + inner
			}
		case kindList:
			if hasNulls(v.children) {
				for item := v.offset(row); item < v.offset(row+1); item++ {
					if inner := nullIn(v.children, item); inner != "" {
						return v.column.name + "." + inner
					}
				}
			}
		}
	}
	return ""
}

// Batch is a batch of rows as columns, each row in a group.
type Batch struct {
	// Rows is how many there are.
	Rows int
	// Groups has the group of each row: an index into the states. A mapper has none.
	Groups []uint32
	views  []View
}

// Column is the column of this name.
func (b *Batch) Column(name string) *View {
	for i := range b.views {
		if b.views[i].column.name == name {
			return &b.views[i]
		}
	}
	panic(fmt.Sprintf("penstock: there is no column `%s` among the fields", name))
}

// HasNulls tells whether some row may have a null where the row's struct takes none.
func (b *Batch) HasNulls() bool { return hasNulls(b.views) }

// NullAt is the reject for a row with a null where the row's struct takes none; nil if it has none.
func (b *Batch) NullAt(row int) *Reject {
	if path := nullIn(b.views, row); path != "" {
		return &Reject{Code: "null", Detail: "column `" + path + "` is null"}
	}
	return nil
}
