package main

import (
	"testing"

	"penstock/penstocktest"
)

func TestTheShareIsOfAllOffers(t *testing.T) {
	window := penstocktest.NewWindow[Offer, Counts, Acceptance](t, DriverAcceptProportion{}, "{}")
	window.Accumulate(0, Offer{true}, Offer{true}, Offer{false}, Offer{true})
	output := window.Finish()
	if len(output) != 1 || output[0] != (Acceptance{0.75, 4}) {
		t.Errorf("output is %v", output)
	}
}
