// examples/driver_accept_proportion_go with a loop of its own over columns: what the bench compares.
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

// AccumulateColumns adds offers.
func (DriverAcceptProportion) AccumulateColumns(batch *penstock.Batch, counts []Counts, rejects *penstock.Rejects) error {
	accepted := batch.Column("accepted")
	if batch.HasNulls() {
		return withNulls(batch, accepted, counts, rejects)
	}
	bits := accepted.Bits()
	for row, group := range batch.Groups {
		of := &counts[group]
		of.Offers++
		of.Accepted += uint64(bits[row>>3] >> (row & 7) & 1)
	}
	return nil
}

func withNulls(batch *penstock.Batch, accepted *penstock.View, counts []Counts, rejects *penstock.Rejects) error {
	for row, group := range batch.Groups {
		if accepted.IsNull(row) {
			rejects.Add(row, batch.NullAt(row))
			continue
		}
		counts[group].Offers++
		if accepted.Bool(row) {
			counts[group].Accepted++
		}
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

func init() { window.ExportColumnar[Offer, Counts, Acceptance](DriverAcceptProportion{}) }

func main() {}
