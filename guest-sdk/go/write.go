package penstock

import "unsafe"

// write makes the buffers of a column of the structs that rows points to. Nil: there is a null above.
func (c *column) write(rows []unsafe.Pointer, buffers [][]byte) [][]byte {
	values := make([]unsafe.Pointer, len(rows))
	nulls := 0
	for i, row := range rows {
		if row != nil && (!c.nullable || *(*bool)(unsafe.Add(row, c.has))) {
			values[i] = unsafe.Add(row, c.value)
		} else {
			nulls++
		}
	}
	var validity []byte
	if c.nullable && nulls > 0 {
		validity = bits(values, func(value unsafe.Pointer) bool { return true })
	}
	buffers = append(buffers, validity)
	switch c.kind {
	case kindBool:
		return append(buffers, bits(values, func(value unsafe.Pointer) bool { return *(*bool)(value) }))
	case kindText, kindBytes:
		// Texts and slices of bytes begin alike: with the data and the length.
		offsets, total := offsetsOf(values, func(value unsafe.Pointer) int { return len(*(*string)(value)) })
		bytes := make([]byte, 0, total)
		for _, value := range values {
			if value != nil {
				bytes = append(bytes, *(*string)(value)...)
			}
		}
		return append(buffers, offsets, bytes)
	case kindStruct:
		for _, child := range c.children {
			buffers = child.write(values, buffers)
		}
		return buffers
	case kindList:
		offsets, total := offsetsOf(values, func(value unsafe.Pointer) int { return (*sliceOf)(value).len })
		items := make([]unsafe.Pointer, 0, total)
		size := c.of.Elem().Size()
		for _, value := range values {
			if value == nil {
				continue
			}
			slice := (*sliceOf)(value)
			for item := range slice.len {
				items = append(items, unsafe.Add(slice.data, uintptr(item)*size))
			}
		}
		return c.item.write(items, append(buffers, offsets))
	}
	switch c.width {
	case 1:
		return append(buffers, fixed[uint8](values))
	case 2:
		return append(buffers, fixed[uint16](values))
	case 4:
		return append(buffers, fixed[uint32](values))
	case 8:
		return append(buffers, fixed[uint64](values))
	}
	bytes := make([]byte, uintptr(len(values))*c.width)
	for i, value := range values {
		if value != nil {
			copy(bytes[uintptr(i)*c.width:], unsafe.Slice((*byte)(value), c.width))
		}
	}
	return append(buffers, bytes)
}

func bits(values []unsafe.Pointer, is func(unsafe.Pointer) bool) []byte {
	made := make([]byte, (len(values)+7)/8)
	for i, value := range values {
		if value != nil && is(value) {
			made[i>>3] |= 1 << (i & 7)
		}
	}
	return made
}

func offsetsOf(values []unsafe.Pointer, length func(unsafe.Pointer) int) ([]byte, int) {
	offsets := make([]int32, len(values)+1)
	total := 0
	for i, value := range values {
		if value != nil {
			total += length(value)
		}
		offsets[i+1] = int32(total)
	}
	return bytesOf(offsets), total
}

func fixed[T any](values []unsafe.Pointer) []byte {
	made := make([]T, len(values))
	for i, value := range values {
		if value != nil {
			made[i] = *(*T)(value)
		}
	}
	return bytesOf(made)
}

func bytesOf[T any](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(values[0])))
}

// writeAll makes columns of structs; with keep, of those that it numbers.
func writeAll[T any](columns []*column, structs []T, keep []uint32) Columns {
	var rows []unsafe.Pointer
	if keep == nil {
		rows = make([]unsafe.Pointer, len(structs))
		for i := range structs {
			rows[i] = unsafe.Pointer(&structs[i])
		}
	} else {
		rows = make([]unsafe.Pointer, len(keep))
		for i, at := range keep {
			rows[i] = unsafe.Pointer(&structs[at])
		}
	}
	var buffers [][]byte
	for _, c := range columns {
		buffers = c.write(rows, buffers)
	}
	return Columns{Rows: len(rows), Buffers: buffers}
}
