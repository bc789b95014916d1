package penstock

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

// kind says how a column's values are read and written.
type kind uint8

const (
	kindBool kind = iota
	kindFixed
	kindText
	kindBytes
	kindStruct
	kindList
)

// column is a field of a struct, and where in it the values are.
type column struct {
	name     string
	format   string
	kind     kind
	width    uintptr // of values of fixed width
	nullable bool
	has      uintptr // offset of Valid
	value    uintptr // offset of the value
	children []*column
	item     *column
	slice    reflect.Type // of a list
	field    string       // as the author calls it: Order.AmountCents
}

// record is a struct whose fields are columns.
type record struct {
	of      reflect.Type
	columns []*column
}

func recordOf(of reflect.Type) (*record, error) {
	if of.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is no struct: its fields are to be the columns", of)
	}
	columns, err := columnsOf(of)
	return &record{of: of, columns: columns}, err
}

func columnsOf(of reflect.Type) ([]*column, error) {
	var columns []*column
	for i := range of.NumField() {
		field := of.Field(i)
		name, typed, _ := strings.Cut(field.Tag.Get("penstock"), ",")
		if name == "-" {
			continue
		}
		called := of.Name() + "." + field.Name
		if !field.IsExported() {
			return nil, fmt.Errorf("%s begins with a small letter, and cannot be a column: write %s, or tag it `penstock:\"-\"`",
				called, strings.ToUpper(field.Name[:1])+field.Name[1:])
		}
		if name == "" {
			name = snake(field.Name)
		}
		made, err := columnOf(field.Type, strings.TrimSpace(typed), called)
		if err != nil {
			return nil, err
		}
		made.name = name
		made.has += field.Offset
		made.value += field.Offset
		columns = append(columns, made)
	}
	return columns, nil
}

// columnOf is the column of a Go type, at the offset 0.
func columnOf(of reflect.Type, typed, called string) (*column, error) {
	if _, null := reflect.Zero(of).Interface().(interface{ isNull() }); null {
		made, err := columnOf(of.Field(0).Type, typed, called)
		if err != nil {
			return nil, err
		}
		made.nullable, made.has = true, of.Field(1).Offset
		made.value += of.Field(0).Offset
		return made, nil
	}
	made := &column{field: called, width: of.Size()}
	if typed != "" && !strings.HasPrefix(typed, "list[") {
		format, size, fits := formatOf(typed)
		if !fits || size != of.Size() {
			return nil, fmt.Errorf("%s is of Go type %v, which cannot hold %s", called, of, typed)
		}
		made.kind, made.format = kindFixed, format
		return made, nil
	}
	if format, named := namedFormats[of]; named {
		made.kind, made.format = kindFixed, format
		return made, nil
	}
	if format, plain := plainFormats[of.Kind()]; plain {
		made.kind, made.format = kindFixed, format
		return made, nil
	}
	switch of.Kind() {
	case reflect.Bool:
		made.kind, made.format = kindBool, "b"
	case reflect.String:
		made.kind, made.format = kindText, "u"
	case reflect.Array:
		if of.Elem().Kind() != reflect.Uint8 || of == reflect.TypeFor[Decimal256]() {
			return nil, fmt.Errorf("%s is of Go type %v: say which decimal it is, as in `penstock:\"%s,decimal256[50, 10]\"`", called, of, "fare")
		}
		made.kind, made.format = kindFixed, "w:"+strconv.Itoa(of.Len())
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 && typed == "" {
			made.kind, made.format = kindBytes, "z"
			break
		}
		inner := strings.TrimSuffix(strings.TrimPrefix(typed, "list["), "]")
		item, err := columnOf(of.Elem(), inner, called+"[]")
		if err != nil {
			return nil, err
		}
		item.name = "item"
		made.kind, made.format, made.item, made.slice = kindList, "+l", item, of
	case reflect.Struct:
		if of == reflect.TypeFor[Decimal128]() {
			return nil, fmt.Errorf("%s is a decimal: say which, as in `penstock:\"fare,decimal128[12, 2]\"`", called)
		}
		children, err := columnsOf(of)
		if err != nil {
			return nil, err
		}
		made.kind, made.format, made.children = kindStruct, "+s", children
	default:
		return nil, fmt.Errorf("%s is of Go type %v, which no column is: use bool, int8 to int64, uint8 to uint64, float32, float64, string, []byte, [N]byte, a slice, a struct or penstock.Null", called, of)
	}
	return made, nil
}

var plainFormats = map[reflect.Kind]string{
	reflect.Int8: "c", reflect.Int16: "s", reflect.Int32: "i", reflect.Int64: "l",
	reflect.Uint8: "C", reflect.Uint16: "S", reflect.Uint32: "I", reflect.Uint64: "L",
	reflect.Float32: "f", reflect.Float64: "g",
}

var namedFormats = map[reflect.Type]string{
	reflect.TypeFor[Date](): "tdD", reflect.TypeFor[DateMillis](): "tdm",
	reflect.TypeFor[Timestamp](): "tsu:UTC", reflect.TypeFor[Float16](): "e",
}

var units = map[string]string{"s": "s", "ms": "m", "us": "u", "ns": "n"}

// formatOf is the format of a type as penstock.toml names it, and the bytes of a value.
func formatOf(typed string) (format string, size uintptr, known bool) {
	base, rest, _ := strings.Cut(strings.TrimSuffix(typed, "]"), "[")
	arguments := strings.Split(rest, ",")
	for i := range arguments {
		arguments[i] = strings.TrimSpace(arguments[i])
	}
	unit := units[arguments[0]]
	switch base {
	case "date32":
		return "tdD", 4, true
	case "date64":
		return "tdm", 8, true
	case "float16":
		return "e", 2, true
	case "time32":
		return "tt" + unit, 4, unit == "s" || unit == "m"
	case "time64":
		return "tt" + unit, 8, unit == "u" || unit == "n"
	case "duration":
		return "tD" + unit, 8, unit != ""
	case "timestamp":
		zone := ""
		if len(arguments) > 1 {
			zone = arguments[1]
		}
		return "ts" + unit + ":" + zone, 8, unit != ""
	case "decimal128":
		return "d:" + strings.Join(arguments, ","), 16, len(arguments) == 2
	case "decimal256":
		return "d:" + strings.Join(arguments, ",") + ",256", 32, len(arguments) == 2
	}
	for kind, format := range plainFormats {
		if kind.String() == base {
			return format, map[string]uintptr{"c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "f": 4}[format] + 8*b2u(strings.Contains("lLg", format)), true
		}
	}
	return "", 0, false
}

func b2u(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// snake makes amount_cents of AmountCents.
func snake(name string) string {
	var made strings.Builder
	letters := []rune(name)
	for i, letter := range letters {
		if unicode.IsUpper(letter) && i > 0 {
			ends := i+1 < len(letters) && unicode.IsLower(letters[i+1])
			if !unicode.IsUpper(letters[i-1]) || ends {
				made.WriteByte('_')
			}
		}
		made.WriteRune(unicode.ToLower(letter))
	}
	return made.String()
}
