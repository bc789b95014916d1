package penstock

import "unsafe"

//go:wasmimport penstock:transform/log@0.1.0 write
func importLog(level uint32, text unsafe.Pointer, length uint32)

//go:wasmimport penstock:transform/metrics@0.1.0 count
func importCount(name unsafe.Pointer, length uint32, amount uint64)

//go:wasmimport penstock:transform/metrics@0.1.0 observe
func importObserve(name unsafe.Pointer, length uint32, value float64)

func writeLog(level Level, line string) {
	importLog(uint32(level), unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
}

func writeCount(name string, amount uint64) {
	importCount(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), amount)
}

func writeObservation(name string, value float64) {
	importObserve(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), value)
}
