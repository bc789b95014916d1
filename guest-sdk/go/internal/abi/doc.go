//go:build !wasm

// Package abi has nothing natively.
package abi
