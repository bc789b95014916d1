package penstock

// Field is one field of a schema, in pre-order; see types.wit of the contract.
type Field struct {
	Name     string
	Format   string
	Nullable bool
	Children int
}

// Columns are rows of a schema that both sides know.
type Columns struct {
	Rows    int
	Buffers [][]byte
}

// Event is what a pipeline offers.
type Event struct {
	Name   string
	Schema []Field
}

// Opening is what a transform learns when it is opened.
type Opening struct {
	Config string
	Events []Event
	Key    []Field
}

// FailureKind says whose fault a failure is.
type FailureKind uint8

// The kinds of failures.
const (
	BadConfig FailureKind = iota
	BadInput
	Internal
)

// Failure is why a call could not be carried out at all.
type Failure struct {
	Kind    FailureKind
	Message string
}

func (f *Failure) Error() string { return f.Message }

// WindowSpec is what a window says of itself.
type WindowSpec struct {
	Event        string
	Columns      []string
	State        []Field
	StateVersion uint32
	MigratesFrom []uint32
	Initial      Columns
	Output       []Field
}

// MapperSpec is what a mapper says of itself.
type MapperSpec struct {
	Event   string
	Columns []string
	Output  []Field
}

// Updated is what became of states. Changed numbers the groups that States holds; nil: every group.
type Updated struct {
	States  Columns
	Changed []uint32
	Rejects []Rejected
}

// Produced are rows of output, each with the row or group it came from.
type Produced struct {
	Output  Columns
	Source  []uint32
	Rejects []Rejected
}

// Windowed is a window transform over buffers, as package window exports it.
type Windowed interface {
	Open(opening *Opening) (*WindowSpec, error)
	Accumulate(input Columns, groups []uint32, keys, states Columns) (*Updated, error)
	MergeStates(earlier, later Columns) (Columns, error)
	FinishGroups(keys, bounds, states Columns) (*Produced, error)
}

// Mapping is a mapper over buffers, as package mapper exports it.
type Mapping interface {
	Open(opening *Opening) (*MapperSpec, error)
	MapRows(input Columns) (*Produced, error)
}

// Migrating takes over states of older versions, as package migration exports it.
type Migrating interface {
	// Versions are those that it takes.
	Versions() []uint32
	MigrateStates(version uint32, schema []Field, states Columns) (Columns, error)
}
