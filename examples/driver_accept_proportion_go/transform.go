// The share of its offers that a driver accepted, and how many offers that were.
package main

import (
	"penstock"
	"penstock/window"
)

// Offer is an offer of a ride to a driver.
type Offer struct{ Accepted bool }

// Counts is what is remembered of a driver's offers.
type Counts struct{ Offers, Accepted uint64 }

// Acceptance has the driver's features.
type Acceptance struct {
	Proportion float64 `penstock:"driver_accept_proportion_10m"`
	Offers     uint64  `penstock:"driver_offers_10m"`
}

// DriverAcceptProportion is the transform.
type DriverAcceptProportion struct{}

// Accumulate adds an offer.
func (DriverAcceptProportion) Accumulate(counts *Counts, offer *Offer) error {
	counts.Offers++
	if offer.Accepted {
		counts.Accepted++
	}
	return nil
}

// Merge adds the counts of a later slice of time.
func (DriverAcceptProportion) Merge(earlier, later *Counts) {
	earlier.Offers += later.Offers
	earlier.Accepted += later.Accepted
}

// Finish gives the share, if there were offers.
func (DriverAcceptProportion) Finish(counts *Counts, _ penstock.Bounds, emit func(Acceptance)) {
	if counts.Offers > 0 {
		emit(Acceptance{float64(counts.Accepted) / float64(counts.Offers), counts.Offers})
	}
}

func init() { window.Export[Offer, Counts, Acceptance](DriverAcceptProportion{}) }

func main() {}
