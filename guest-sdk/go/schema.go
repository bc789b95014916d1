package penstock

import (
	"fmt"
	"strings"
)

// layout says where the buffers of a column lie among those of a batch.
type layout struct {
	first    int
	large    bool
	children []layout
}

func describe(columns []*column, schema []Field) []Field {
	for _, c := range columns {
		children := len(c.children)
		if c.item != nil {
			children = 1
		}
		schema = append(schema, Field{Name: c.name, Format: c.format, Nullable: c.nullable, Children: children})
		schema = describe(c.children, schema)
		if c.item != nil {
			schema = describe([]*column{c.item}, schema)
		}
	}
	return schema
}

// tree is a field with its children, and the number of its first buffer.
type tree struct {
	Field
	first    int
	children []*tree
}

func treesOf(schema []Field) []*tree {
	next, buffer := 0, 0
	var take func() *tree
	take = func() *tree {
		made := &tree{Field: schema[next], first: buffer}
		next++
		buffer += buffersOf(made.Format)
		for range made.Children {
			made.children = append(made.children, take())
		}
		return made
	}
	var roots []*tree
	for next < len(schema) {
		roots = append(roots, take())
	}
	return roots
}

func buffersOf(format string) int {
	switch format {
	case "u", "z", "U", "Z":
		return 3
	case "+s":
		return 1
	}
	return 2
}

func (t *tree) buffers() int {
	count := buffersOf(t.Format)
	for _, child := range t.children {
		count += child.buffers()
	}
	return count
}

// layOut finds columns among fields by name. With picked, the batch has only the columns, in their order.
func layOut(columns []*column, fields []*tree, picked bool, whose string) ([]layout, error) {
	var made []layout
	next := 0
	for _, c := range columns {
		var found *tree
		var names []string
		for _, field := range fields {
			names = append(names, "`"+field.Name+"`")
			if field.Name == c.name {
				found = field
			}
		}
		if found == nil {
			there := "none"
			if len(names) > 0 {
				there = strings.Join(names, ", ")
			}
			return nil, &Failure{BadInput, fmt.Sprintf("%s has no column `%s`, which %s expects as %s; there are: %s. If it has another name, tag the field `penstock:\"that name\"`",
				whose, c.name, c.field, typeName(c.format), there)}
		}
		shift := 0
		if picked {
			shift = next - found.first
			next += found.buffers()
		}
		one, err := c.match(found, shift, whose)
		if err != nil {
			return nil, err
		}
		made = append(made, one)
	}
	return made, nil
}

func (c *column) match(found *tree, shift int, whose string) (layout, error) {
	if !fits(c.format, found.Format) {
		return layout{}, &Failure{BadInput, fmt.Sprintf("%s has a column `%s` of type %s, but %s expects %s: declare the field as `%s`, or have the pipeline hand over %s",
			whose, found.Name, typeName(found.Format), c.field, typeName(c.format), goType(found.Format), typeName(c.format))}
	}
	made := layout{first: found.first + shift, large: found.Format == "U" || found.Format == "Z" || found.Format == "+L"}
	if c.item != nil {
		// Sources call the child of a list item, element and other things.
		item, err := c.item.match(found.children[0], shift, whose)
		made.children = []layout{item}
		return made, err
	}
	for _, child := range c.children {
		one, err := layOut([]*column{child}, found.children, false, whose)
		if err != nil {
			return layout{}, err
		}
		one[0].shift(shift)
		made.children = append(made.children, one[0])
	}
	return made, nil
}

func (l *layout) shift(by int) {
	l.first += by
	for i := range l.children {
		l.children[i].shift(by)
	}
}

func fits(wanted, found string) bool {
	if strings.HasPrefix(wanted, "ts") && strings.HasPrefix(found, "ts") && len(wanted) > 3 && len(found) > 3 {
		return wanted[2] == found[2] && (len(wanted) == 4) == (len(found) == 4)
	}
	return wanted == found || wanted == "u" && found == "U" || wanted == "z" && found == "Z" || wanted == "+l" && found == "+L"
}

var typeNames = map[string]string{
	"b": "bool", "c": "int8", "s": "int16", "i": "int32", "l": "int64", "C": "uint8", "S": "uint16", "I": "uint32", "L": "uint64",
	"e": "float16", "f": "float32", "g": "float64", "tdD": "date32", "tdm": "date64", "u": "utf8", "U": "large_utf8",
	"z": "binary", "Z": "large_binary", "+l": "a list", "+L": "a large list", "+s": "a struct",
	"tts": "time32[s]", "ttm": "time32[ms]", "ttu": "time64[us]", "ttn": "time64[ns]",
	"tDs": "duration[s]", "tDm": "duration[ms]", "tDu": "duration[us]", "tDn": "duration[ns]",
}

// typeName is what people call a format: int64, utf8.
func typeName(format string) string {
	if name, known := typeNames[format]; known {
		return name
	}
	if strings.HasPrefix(format, "ts") && len(format) > 3 {
		for name, unit := range units {
			if unit == format[2:3] {
				return strings.TrimSuffix("timestamp["+name+", "+format[4:], ", ") + "]"
			}
		}
	}
	if parts := strings.Split(strings.TrimPrefix(format, "d:"), ","); strings.HasPrefix(format, "d:") && len(parts) > 1 {
		bits := "128"
		if len(parts) > 2 {
			bits = parts[2]
		}
		return "decimal" + bits + "[" + parts[0] + ", " + parts[1] + "]"
	}
	if strings.HasPrefix(format, "w:") {
		return "fixed_size_binary[" + format[2:] + "]"
	}
	return "`" + format + "`"
}

// goType is what to declare for a format.
func goType(format string) string {
	switch format {
	case "b", "c", "s", "i", "l", "C", "S", "I", "L", "f", "g":
		return typeNames[format]
	case "u", "U":
		return "string"
	case "z", "Z":
		return "[]byte"
	case "tdD":
		return "penstock.Date"
	case "tsu:UTC":
		return "penstock.Timestamp"
	case "+l", "+L":
		return "a slice"
	case "+s":
		return "a struct"
	}
	return "… `penstock:\"name," + typeName(format) + "\"`"
}
