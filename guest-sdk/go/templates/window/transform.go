// What a customer spends.
package main

import (
	"penstock"
	"penstock/window"
)

// Order has the columns of an order that are wanted: amount_cents and coupon. The host decodes no others. A row with a
// null in a field that is no Null is rejected before it comes here.
type Order struct {
	AmountCents int64
	Coupon      penstock.Null[string]
}

// Orders is what is remembered of a customer.
type Orders struct {
	Orders     uint64
	Cents      int64
	LastCoupon penstock.Null[string]
}

// Spend is what comes out. The host adds the customer and the window.
type Spend struct {
	Orders     uint64
	MeanCents  float64
	LastCoupon penstock.Null[string]
}

// CustomerSpend is the transform.
type CustomerSpend struct{}

// Accumulate adds an order to a state, or refuses it.
func (CustomerSpend) Accumulate(state *Orders, order *Order) error {
	if order.AmountCents < 0 || order.AmountCents > 100_000_000 {
		return penstock.Refuse("amount-out-of-range", "an order of %d cents", order.AmountCents)
	}
	state.Orders++
	state.Cents += order.AmountCents
	if order.Coupon.Valid {
		state.LastCoupon = order.Coupon
	}
	return nil
}

// Merge adds the state of a later slice of time to that of an earlier one.
func (CustomerSpend) Merge(earlier, later *Orders) {
	earlier.Orders += later.Orders
	earlier.Cents += later.Cents
	if later.LastCoupon.Valid {
		earlier.LastCoupon = later.LastCoupon
	}
}

// Finish makes output of the state of a window that has closed.
func (CustomerSpend) Finish(state *Orders, _ penstock.Bounds, emit func(Spend)) {
	if state.Orders == 0 {
		return
	}
	emit(Spend{
		Orders:     state.Orders,
		MeanCents:  float64(state.Cents) / float64(state.Orders),
		LastCoupon: state.LastCoupon,
	})
}

func init() { window.Export[Order, Orders, Spend](CustomerSpend{}) }

func main() {}
