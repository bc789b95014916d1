package penstock

// Driver runs a window over its own columns; package penstocktest is the way to it. Natively there are no keys.
type Driver[R, S, O any] struct {
	window Windowed
	states []S
	row    []*column
	state  []*column
	output []*column
	spec   *WindowSpec
}

// NewDriver opens a window on an event that has just its row's columns.
func NewDriver[R, S, O any](window Windowed, config string) (*Driver[R, S, O], error) {
	d := &Driver[R, S, O]{window: window}
	var err error
	if d.row, err = columnsFor[R]("row"); err != nil {
		return nil, err
	}
	if d.state, err = columnsFor[S]("state"); err != nil {
		return nil, err
	}
	if d.output, err = columnsFor[O]("output"); err != nil {
		return nil, err
	}
	opening := &Opening{Config: config, Events: []Event{{Name: "event", Schema: describe(d.row, nil)}}}
	if d.spec, err = window.Open(opening); err != nil {
		return nil, err
	}
	d.Group()
	return d, nil
}

// Group adds a group.
func (d *Driver[R, S, O]) Group() int {
	d.states = append(d.states, own[S](d.state, d.spec.Initial)[0])
	return len(d.states) - 1
}

// Accumulate adds rows to a group.
func (d *Driver[R, S, O]) Accumulate(group int, rows []R) ([]Rejected, error) {
	groups := make([]uint32, len(rows))
	for i := range groups {
		groups[i] = uint32(group)
	}
	updated, err := d.window.Accumulate(writeAll(d.row, rows, nil), groups, Columns{Rows: len(d.states)}, writeAll(d.state, d.states, nil))
	if err != nil {
		return nil, err
	}
	changed := own[S](d.state, updated.States)
	if updated.Changed == nil {
		d.states = changed
	}
	for i, group := range updated.Changed {
		d.states[group] = changed[i]
	}
	return updated.Rejects, nil
}

// Merge adds a later group's state to an earlier one's.
func (d *Driver[R, S, O]) Merge(earlier, later int) error {
	merged, err := d.window.MergeStates(writeAll(d.state, d.states[earlier:earlier+1], nil), writeAll(d.state, d.states[later:later+1], nil))
	if err == nil {
		d.states[earlier] = own[S](d.state, merged)[0]
	}
	return err
}

// Finish gives the output of all groups.
func (d *Driver[R, S, O]) Finish(bounds Bounds) ([]O, error) {
	count := len(d.states)
	starts, ends := make([]int64, count), make([]int64, count)
	for i := range starts {
		starts[i], ends[i] = bounds.Start, bounds.End
	}
	of := Columns{Rows: count, Buffers: [][]byte{nil, bytesOf(starts), nil, bytesOf(ends)}}
	produced, err := d.window.FinishGroups(Columns{Rows: count}, of, writeAll(d.state, d.states, nil))
	if err != nil {
		return nil, err
	}
	return own[O](d.output, produced.Output), nil
}

// DriveMapper opens a mapper on an event that has just its row's columns, and maps rows.
func DriveMapper[R, O any](mapper Mapping, config string, rows []R) ([]O, *Produced, error) {
	row, err := columnsFor[R]("row")
	if err != nil {
		return nil, nil, err
	}
	output, err := columnsFor[O]("output")
	if err != nil {
		return nil, nil, err
	}
	if _, err = mapper.Open(&Opening{Config: config, Events: []Event{{Name: "event", Schema: describe(row, nil)}}}); err != nil {
		return nil, nil, err
	}
	produced, err := mapper.MapRows(writeAll(row, rows, nil))
	if err != nil {
		return nil, nil, err
	}
	return own[O](output, produced.Output), produced, nil
}

// own reads columns that were made of the same structs.
func own[T any](columns []*column, from Columns) []T {
	layouts, err := layOut(columns, treesOf(describe(columns, nil)), false, "the struct")
	if err != nil {
		panic(err)
	}
	return readAll[T](columns, layouts, from)
}
