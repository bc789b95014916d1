package mapper

import (
	"unsafe"

	"penstock"
	"penstock/internal/abi"
)

func the() penstock.Mapping {
	if exported == nil {
		panic("no mapper is exported: call mapper.Export in a func init")
	}
	return exported
}

//go:wasmexport penstock:transform/mapper@0.1.0#open-mapper
func openMapper(config unsafe.Pointer, configLength uint32, events unsafe.Pointer, eventCount uint32, key unsafe.Pointer, keyCount uint32, _ unsafe.Pointer, _ uint32) unsafe.Pointer {
	return abi.Call(28, func() (*penstock.MapperSpec, error) {
		spec, err := the().Open(abi.Opening(config, configLength, events, eventCount, key, keyCount))
		return spec, abi.At(err, place)
	}, abi.LayMapperSpec)
}

//go:wasmexport penstock:transform/mapper@0.1.0#map-rows
func mapRows(_ uint32, rows uint32, buffers unsafe.Pointer, count uint32) unsafe.Pointer {
	return abi.Call(32, func() (*penstock.Produced, error) {
		return the().MapRows(abi.Columns(rows, buffers, count))
	}, abi.LayMapped)
}

//go:wasmexport cabi_post_penstock:transform/mapper@0.1.0#open-mapper
func afterOpen(unsafe.Pointer) { abi.End() }

//go:wasmexport cabi_post_penstock:transform/mapper@0.1.0#map-rows
func afterMap(unsafe.Pointer) { abi.End() }
