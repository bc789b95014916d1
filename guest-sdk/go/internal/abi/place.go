package abi

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// place is the file and line of the author's that panicked: also where that was in a function of Go's own library,
// which the author called.
func place() string {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	modules := authorsModules()
	for {
		frame, more := frames.Next()
		if frame.File != "" && isAuthors(frame.Function, modules) {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

// authorsModules are the paths of all modules of the program but the SDK.
func authorsModules() []string {
	info, known := debug.ReadBuildInfo()
	if !known {
		return nil
	}
	modules := []string{info.Main.Path}
	for _, module := range info.Deps {
		modules = append(modules, module.Path)
	}
	return modules
}

// isAuthors tells whether a function is in package main, or in one of the modules. What is left is Go's own, and ours.
func isAuthors(function string, modules []string) bool {
	// The package's path ends at the first dot behind the last slash.
	begin := strings.LastIndexByte(function, '/') + 1
	end := strings.IndexByte(function[begin:], '.')
	if end < 0 {
		return false
	}
	path := function[:begin+end]
	if path == "main" {
		return true
	}
	for _, module := range modules {
		if module != "" && module != "penstock" && (path == module || strings.HasPrefix(path, module+"/")) {
			return true
		}
	}
	return false
}
