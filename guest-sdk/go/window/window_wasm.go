package window

import (
	"unsafe"

	"penstock"
	"penstock/internal/abi"
)

func the() penstock.Windowed {
	if exported == nil {
		panic("no window is exported: call window.Export in a func init")
	}
	return exported
}

//go:wasmexport penstock:transform/windowed@0.1.0#open-windowed
func openWindowed(config unsafe.Pointer, configLength uint32, events unsafe.Pointer, eventCount uint32, key unsafe.Pointer, keyCount uint32, _ unsafe.Pointer, _ uint32) unsafe.Pointer {
	return abi.Call(60, func() (*penstock.WindowSpec, error) {
		spec, err := the().Open(abi.Opening(config, configLength, events, eventCount, key, keyCount))
		if err == nil && migrates != nil {
			spec.MigratesFrom = migrates()
		}
		return spec, abi.At(err, place)
	}, abi.LayWindowSpec)
}

//go:wasmexport penstock:transform/windowed@0.1.0#accumulate
func accumulate(_ uint32, rows uint32, buffers unsafe.Pointer, count uint32, groups unsafe.Pointer, groupBytes uint32,
	keyRows uint32, keys unsafe.Pointer, keyCount uint32, stateRows uint32, states unsafe.Pointer, stateCount uint32) unsafe.Pointer {
	return abi.Call(36, func() (*penstock.Updated, error) {
		return the().Accumulate(abi.Columns(rows, buffers, count), abi.U32s(groups, groupBytes),
			abi.Columns(keyRows, keys, keyCount), abi.Columns(stateRows, states, stateCount))
	}, abi.LayUpdated)
}

//go:wasmexport penstock:transform/windowed@0.1.0#merge-states
func mergeStates(_ uint32, _ unsafe.Pointer, _ uint32, earlierRows uint32, earlier unsafe.Pointer, earlierCount uint32,
	laterRows uint32, later unsafe.Pointer, laterCount uint32) unsafe.Pointer {
	return abi.Call(16, func() (penstock.Columns, error) {
		return the().MergeStates(abi.Columns(earlierRows, earlier, earlierCount), abi.Columns(laterRows, later, laterCount))
	}, abi.LayColumns)
}

//go:wasmexport penstock:transform/windowed@0.1.0#finish-groups
func finishGroups(keyRows uint32, keys unsafe.Pointer, keyCount uint32, boundRows uint32, bounds unsafe.Pointer, boundCount uint32,
	stateRows uint32, states unsafe.Pointer, stateCount uint32) unsafe.Pointer {
	return abi.Call(24, func() (*penstock.Produced, error) {
		return the().FinishGroups(abi.Columns(keyRows, keys, keyCount), abi.Columns(boundRows, bounds, boundCount),
			abi.Columns(stateRows, states, stateCount))
	}, abi.LayFinished)
}

//go:wasmexport cabi_post_penstock:transform/windowed@0.1.0#open-windowed
func afterOpen(unsafe.Pointer) { abi.End() }

//go:wasmexport cabi_post_penstock:transform/windowed@0.1.0#accumulate
func afterAccumulate(unsafe.Pointer) { abi.End() }

//go:wasmexport cabi_post_penstock:transform/windowed@0.1.0#merge-states
func afterMerge(unsafe.Pointer) { abi.End() }

//go:wasmexport cabi_post_penstock:transform/windowed@0.1.0#finish-groups
func afterFinish(unsafe.Pointer) { abi.End() }
