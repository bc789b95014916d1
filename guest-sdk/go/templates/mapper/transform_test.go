package main

import (
	"testing"

	"penstock/penstocktest"
)

func TestTestCustomersAreLeftOutAndNegativeAmountsRefused(t *testing.T) {
	output, source, rejects := penstocktest.Map[Order, Worth](t, OrderWorth{}, "{}",
		Order{"c-1", 2500}, Order{"test-1", 100}, Order{"c-2", -1})
	if len(output) != 1 || output[0] != (Worth{"c-1", 25, true}) || source[0] != 0 {
		t.Errorf("output is %v of %v", output, source)
	}
	if len(rejects) != 1 || rejects[0].Row != 2 || rejects[0].Code != "negative-amount" {
		t.Errorf("rejects are %v", rejects)
	}
}
