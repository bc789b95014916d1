package penstock

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// atOnce is how many rows are read at a time, so that they stay in the cache.
const atOnce = 512

// windows runs a window of any form.
type windows[K, R, S, O any] struct {
	author     any
	accumulate func(key *K, state *S, row *R) error
	columnar   func(batch *Batch, keys []K, states []S, rejects *Rejects) error
	merge      func(earlier, later *S)
	finish     func(key *K, state *S, bounds Bounds, emit func(O))

	row, key, state, output     []*column
	rowLay, keyLay, stateLayout []layout
	rows                        []R
}

// WindowOf makes a window of its methods; package window exports what it gives.
func WindowOf[R, S, O any](author Window[R, S, O]) Windowed {
	return &windows[struct{}, R, S, O]{
		author:     author,
		accumulate: func(_ *struct{}, state *S, row *R) error { return author.Accumulate(state, row) },
		merge:      author.Merge,
		finish:     func(_ *struct{}, state *S, bounds Bounds, emit func(O)) { author.Finish(state, bounds, emit) },
	}
}

// KeyedWindowOf is WindowOf for a window that sees its keys.
func KeyedWindowOf[K, R, S, O any](author KeyedWindow[K, R, S, O]) Windowed {
	return &windows[K, R, S, O]{author: author, accumulate: author.Accumulate, merge: author.Merge, finish: author.Finish}
}

// ColumnarWindowOf is WindowOf for a window that gets batches as columns.
func ColumnarWindowOf[R, S, O any](author ColumnarWindow[R, S, O]) Windowed {
	return &windows[struct{}, R, S, O]{
		author: author,
		columnar: func(batch *Batch, _ []struct{}, states []S, rejects *Rejects) error {
			return author.AccumulateColumns(batch, states, rejects)
		},
		merge:  author.Merge,
		finish: func(_ *struct{}, state *S, bounds Bounds, emit func(O)) { author.Finish(state, bounds, emit) },
	}
}

// KeyedColumnarWindowOf is WindowOf for a window that gets batches as columns, and sees its keys.
func KeyedColumnarWindowOf[K, R, S, O any](author KeyedColumnarWindow[K, R, S, O]) Windowed {
	return &windows[K, R, S, O]{author: author, columnar: author.AccumulateColumns, merge: author.Merge, finish: author.Finish}
}

func columnsFor[T any](role string) ([]*column, error) {
	made, err := recordOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, &Failure{BadInput, "the " + role + ": " + err.Error()}
	}
	return made.columns, nil
}

// configure hands the configuration to the author, or refuses it.
func configure(author any, config string) error {
	opener, opens := author.(Opener)
	if !opens {
		if strings.Trim(config, " \t\r\n{}") == "" {
			return nil
		}
		return &Failure{BadConfig, "this transform takes no configuration, but was given " + config + ": remove `config` from the pipeline"}
	}
	if err := opener.Open([]byte(config)); err != nil {
		return &Failure{BadConfig, err.Error()}
	}
	return nil
}

// selectEvent finds the columns of a row in the one event that is offered.
func selectEvent(opening *Opening, row []*column) ([]layout, error) {
	if len(opening.Events) != 1 {
		return nil, &Failure{BadInput, fmt.Sprintf("this transform takes one event, but the pipeline offers %d", len(opening.Events))}
	}
	event := opening.Events[0]
	return layOut(row, treesOf(event.Schema), true, "event `"+event.Name+"`")
}

func namesOf(columns []*column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

func (w *windows[K, R, S, O]) Open(opening *Opening) (*WindowSpec, error) {
	var err error
	for _, record := range []struct {
		of   func() ([]*column, error)
		into *[]*column
	}{
		{func() ([]*column, error) { return columnsFor[R]("row") }, &w.row},
		{func() ([]*column, error) { return columnsFor[K]("key") }, &w.key},
		{func() ([]*column, error) { return columnsFor[S]("state") }, &w.state},
		{func() ([]*column, error) { return columnsFor[O]("output") }, &w.output},
	} {
		if *record.into, err = record.of(); err != nil {
			return nil, err
		}
	}
	if err := configure(w.author, opening.Config); err != nil {
		return nil, err
	}
	if w.rowLay, err = selectEvent(opening, w.row); err != nil {
		return nil, err
	}
	if w.keyLay, err = layOut(w.key, treesOf(opening.Key), false, "the pipeline's key"); err != nil {
		return nil, err
	}
	reserved := []string{"window_start", "window_end", "revision", "withdrawn"}
	for _, field := range opening.Key {
		reserved = append(reserved, field.Name)
	}
	for _, c := range w.output {
		if slices.Contains(reserved, c.name) {
			return nil, &Failure{BadInput, fmt.Sprintf("the transform's output has a column `%s` (%s), which the host adds itself: rename the field, or remove it", c.name, c.field)}
		}
	}
	state := describe(w.state, nil)
	if w.stateLayout, err = layOut(w.state, treesOf(state), false, "the state"); err != nil {
		return nil, err
	}
	initial, err := initialOf[S](w.author)
	if err != nil {
		return nil, err
	}
	spec := &WindowSpec{
		Event:        opening.Events[0].Name,
		Columns:      namesOf(w.row),
		State:        state,
		StateVersion: 1,
		Initial:      writeAll(w.state, []S{initial}, nil),
		Output:       describe(w.output, nil),
	}
	if versioned, is := w.author.(Versioned); is {
		spec.StateVersion = versioned.StateVersion()
	}
	return spec, nil
}

// initialOf is what groups begin with.
func initialOf[S any](author any) (S, error) {
	var zeros S
	if starter, starts := author.(Starter[S]); starts {
		return starter.Initial(), nil
	}
	if method, has := reflect.TypeOf(author).MethodByName("Initial"); has {
		return zeros, &Failure{BadInput, fmt.Sprintf("the method Initial is %v, and not func() %v, which gives the state that groups begin with", method.Func.Type(), reflect.TypeFor[S]())}
	}
	return zeros, nil
}

func readAll[T any](columns []*column, layouts []layout, from Columns) []T {
	structs := make([]T, from.Rows)
	readInto(bind(columns, layouts, from, from.Rows), 0, structs)
	return structs
}

func (w *windows[K, R, S, O]) Accumulate(input Columns, groups []uint32, keys, states Columns) (*Updated, error) {
	for _, group := range groups {
		if int(group) >= states.Rows {
			return nil, &Failure{Internal, fmt.Sprintf("the host put a row into group %d, but sent %d groups", group, states.Rows)}
		}
	}
	batch := &Batch{
		Rows:   input.Rows,
		Groups: groups,
		views:  bind(w.row, w.rowLay, input, input.Rows),
	}
	key := readAll[K](w.key, w.keyLay, keys)
	structs := readAll[S](w.state, w.stateLayout, states)
	rejects := &Rejects{}
	var err error
	if w.columnar != nil {
		err = w.columnar(batch, key, structs, rejects)
	} else {
		err = w.fold(batch, key, structs, rejects)
	}
	if err != nil {
		return nil, &Failure{Internal, err.Error()}
	}
	changed := changedBy(batch, states.Rows, rejects.rows)
	return &Updated{States: writeAll(w.state, structs, changed), Changed: changed, Rejects: rejects.rows}, nil
}

// fold is the loop over rows.
func (w *windows[K, R, S, O]) fold(batch *Batch, keys []K, states []S, rejects *Rejects) error {
	if w.rows == nil {
		w.rows = make([]R, atOnce)
	}
	nulls := batch.HasNulls()
	for first := 0; first < batch.Rows; first += atOnce {
		rows := w.rows[:min(atOnce, batch.Rows-first)]
		readInto(batch.views, first, rows)
		for i := range rows {
			if nulls {
				if null := batch.NullAt(first + i); null != nil {
					rejects.Add(first+i, null)
					continue
				}
			}
			group := batch.Groups[first+i]
			state := &states[group]
			before := *state
			if err := w.accumulate(&keys[group], state, &rows[i]); err != nil {
				*state = before
				var reject *Reject
				if !errors.As(err, &reject) {
					return err
				}
				rejects.Add(first+i, reject)
			}
		}
	}
	return nil
}

// changedBy numbers the groups with a row that was not rejected; nil if that is all of them.
func changedBy(batch *Batch, groups int, rejects []Rejected) []uint32 {
	if len(rejects) == 0 {
		return nil
	}
	has := make([]bool, groups)
	for row, group := range batch.Groups {
		if len(rejects) > 0 && rejects[0].Row == row {
			rejects = rejects[1:]
		} else {
			has[group] = true
		}
	}
	changed := []uint32{}
	for group, is := range has {
		if is {
			changed = append(changed, uint32(group))
		}
	}
	if len(changed) == groups {
		return nil
	}
	return changed
}

func (w *windows[K, R, S, O]) MergeStates(earlier, later Columns) (Columns, error) {
	into := readAll[S](w.state, w.stateLayout, earlier)
	from := readAll[S](w.state, w.stateLayout, later)
	for i := range into {
		w.merge(&into[i], &from[i])
	}
	return writeAll(w.state, into, nil), nil
}

func (w *windows[K, R, S, O]) FinishGroups(keys, bounds, states Columns) (*Produced, error) {
	structs := readAll[S](w.state, w.stateLayout, states)
	key := readAll[K](w.key, w.keyLay, keys)
	starts, ends := int64s(bounds.Buffers[1]), int64s(bounds.Buffers[3])
	produced := &Produced{}
	var output []O
	for group := range structs {
		w.finish(&key[group], &structs[group], Bounds{starts[group], ends[group]}, func(row O) {
			output = append(output, row)
			produced.Source = append(produced.Source, uint32(group))
		})
	}
	produced.Output = writeAll(w.output, output, nil)
	return produced, nil
}

// Migrations are what package migration exports, with the window whose states they make. From turns a state of the
// old version into one of now.
func Migrations(takers ...Migration) Migrating { return migrations(takers) }

// Migration takes over states of one older version.
type Migration struct {
	version uint32
	migrate func(schema []Field, states Columns) (Columns, error)
}

// From takes over states of a version: Old has the fields of that version that are needed.
func From[Old, S any](version uint32, migrate func(old *Old) S) Migration {
	return Migration{version, func(schema []Field, states Columns) (Columns, error) {
		old, err := columnsFor[Old]("old state")
		if err != nil {
			return Columns{}, err
		}
		state, err := columnsFor[S]("state")
		if err != nil {
			return Columns{}, err
		}
		whose := fmt.Sprintf("the state of version %d", version)
		layouts, err := layOut(old, treesOf(schema), false, whose)
		if err != nil {
			return Columns{}, err
		}
		if err := refuseNulls(bind(old, layouts, states, states.Rows), states.Rows, whose); err != nil {
			return Columns{}, err
		}
		from := readAll[Old](old, layouts, states)
		into := make([]S, len(from))
		for i := range from {
			into[i] = migrate(&from[i])
		}
		return writeAll(state, into, nil), nil
	}}
}

// refuseNulls looks for a null where the struct of an old state takes none: what that version wrote may have some.
func refuseNulls(views []View, rows int, whose string) error {
	if !hasNulls(views) {
		return nil
	}
	for row := range rows {
		if path := nullIn(views, row); path != "" {
			return &Failure{BadInput, fmt.Sprintf("%s has a null in column `%s`, in row %d, where the transform takes none: declare the field as penstock.Null", whose, path, row)}
		}
	}
	return nil
}

type migrations []Migration

func (m migrations) Versions() []uint32 {
	versions := make([]uint32, len(m))
	for i, one := range m {
		versions[i] = one.version
	}
	return versions
}

func (m migrations) MigrateStates(version uint32, schema []Field, states Columns) (Columns, error) {
	for _, one := range m {
		if one.version == version {
			return one.migrate(schema, states)
		}
	}
	return Columns{}, &Failure{BadInput, fmt.Sprintf("states of version %d cannot be taken over", version)}
}
