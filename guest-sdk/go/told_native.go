//go:build !wasm

package penstock

import (
	"fmt"
	"os"
)

func writeLog(_ Level, line string) { fmt.Fprintln(os.Stderr, line) }

func writeCount(string, uint64) {}

func writeObservation(string, float64) {}
