package migration

import (
	"unsafe"

	"penstock"
	"penstock/internal/abi"
)

//go:wasmexport penstock:transform/migration@0.1.0#migrate-states
func migrateStates(version uint32, schema unsafe.Pointer, fields uint32, rows uint32, states unsafe.Pointer, count uint32) unsafe.Pointer {
	return abi.Call(16, func() (penstock.Columns, error) {
		return exported.MigrateStates(version, abi.Schema(schema, fields), abi.Columns(rows, states, count))
	}, abi.LayColumns)
}

//go:wasmexport cabi_post_penstock:transform/migration@0.1.0#migrate-states
func afterMigrate(unsafe.Pointer) { abi.End() }
