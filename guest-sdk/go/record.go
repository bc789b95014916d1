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
	of       reflect.Type // of the value in Go
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

// columnOf is the column of a Go type, at the offset 0. The tag says its type where the Go type leaves it open.
func columnOf(of reflect.Type, typed, called string) (*column, error) {
	_, null := reflect.Zero(of).Interface().(interface{ isNull() })
	// A struct that has a Null in it without a name has its methods too.
	if null && of.PkgPath() == reflect.TypeFor[Null[bool]]().PkgPath() && strings.HasPrefix(of.Name(), "Null[") {
		made, err := columnOf(of.Field(0).Type, typed, called)
		if err != nil {
			return nil, err
		}
		made.nullable, made.has = true, of.Field(1).Offset
		made.value += of.Field(0).Offset
		return made, nil
	}
	if inner, is := strings.CutPrefix(typed, "list["); is && strings.HasSuffix(inner, "]") && of.Kind() == reflect.Slice {
		return listOf(of, strings.TrimSuffix(inner, "]"), called)
	}
	made := &column{field: called, width: of.Size(), of: of}
	if typed != "" {
		asked, known := typeOf(typed)
		if !known {
			return nil, fmt.Errorf("%s is tagged `%s`, which is no type of a column (or not one that needs a tag)", called, typed)
		}
		if !asked.holds(of) {
			return nil, fmt.Errorf("%s is of Go type %v, which cannot hold %s: declare it as %s", called, of, typed, asked.goType)
		}
		made.kind, made.format = asked.kind, asked.format
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
		if of.Elem().Kind() != reflect.Uint8 {
			return nil, fmt.Errorf("%s is of Go type %v: if it is a decimal, say which, as in `penstock:\"fare,decimal256[50, 10]\"`", called, of)
		}
		made.kind, made.format = kindFixed, "w:"+strconv.Itoa(of.Len())
	case reflect.Slice:
		if of.Elem().Kind() != reflect.Uint8 {
			return listOf(of, "", called)
		}
		made.kind, made.format = kindBytes, "z"
	case reflect.Struct:
		if of.ConvertibleTo(reflect.TypeFor[Decimal128]()) {
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

// listOf is the column of a slice, whose items are of the type that is typed.
func listOf(of reflect.Type, typed, called string) (*column, error) {
	item, err := columnOf(of.Elem(), strings.TrimSpace(typed), called+"[]")
	if err != nil {
		return nil, err
	}
	item.name = "item"
	return &column{field: called, width: of.Size(), of: of, kind: kindList, format: "+l", item: item}, nil
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

// asked is the type of a column as a tag says it, and what of Go holds its values.
type asked struct {
	format string
	kind   kind
	goType reflect.Type
}

// holds tells whether values of the type are laid out in memory as those of the Go type.
func (a asked) holds(of reflect.Type) bool {
	// Numbers of one kind are all alike; of arrays, slices and structs the insides count too.
	return of.Kind() == a.goType.Kind() && of.ConvertibleTo(a.goType)
}

// typeOf is the type that penstock.toml has by this name, but for lists and structs.
func typeOf(typed string) (asked, bool) {
	base, rest, _ := strings.Cut(strings.TrimSuffix(typed, "]"), "[")
	arguments := strings.Split(rest, ",")
	for i := range arguments {
		arguments[i] = strings.TrimSpace(arguments[i])
	}
	unit := units[arguments[0]]
	number, err := strconv.Atoi(arguments[0])
	counts := err == nil && number >= 1
	int32s, int64s := reflect.TypeFor[int32](), reflect.TypeFor[int64]()
	switch base {
	case "bool":
		return asked{"b", kindBool, reflect.TypeFor[bool]()}, true
	case "utf8":
		return asked{"u", kindText, reflect.TypeFor[string]()}, true
	case "binary":
		return asked{"z", kindBytes, reflect.TypeFor[[]byte]()}, true
	case "fixed_size_binary":
		if !counts {
			return asked{}, false
		}
		return asked{"w:" + arguments[0], kindFixed, reflect.ArrayOf(number, reflect.TypeFor[byte]())}, true
	case "date32":
		return asked{"tdD", kindFixed, int32s}, true
	case "date64":
		return asked{"tdm", kindFixed, int64s}, true
	case "float16":
		return asked{"e", kindFixed, reflect.TypeFor[Float16]()}, true
	case "time32":
		return asked{"tt" + unit, kindFixed, int32s}, unit == "s" || unit == "m"
	case "time64":
		return asked{"tt" + unit, kindFixed, int64s}, unit == "u" || unit == "n"
	case "duration":
		return asked{"tD" + unit, kindFixed, int64s}, unit != ""
	case "timestamp":
		zone := ""
		if len(arguments) > 1 {
			zone = arguments[1]
		}
		return asked{"ts" + unit + ":" + zone, kindFixed, int64s}, unit != ""
	case "decimal128":
		return asked{"d:" + strings.Join(arguments, ","), kindFixed, reflect.TypeFor[Decimal128]()}, counts && len(arguments) == 2
	case "decimal256":
		return asked{"d:" + strings.Join(arguments, ",") + ",256", kindFixed, reflect.TypeFor[Decimal256]()}, counts && len(arguments) == 2
	}
	for _, plain := range []reflect.Type{
		reflect.TypeFor[int8](), reflect.TypeFor[int16](), int32s, int64s, reflect.TypeFor[uint8](), reflect.TypeFor[uint16](),
		reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	} {
		if plain.Name() == base && rest == "" {
			return asked{plainFormats[plain.Kind()], kindFixed, plain}, true
		}
	}
	return asked{}, false
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
