package main

import (
	"testing"

	"penstock"
	"penstock/penstocktest"
)

func TestARefusedOrderLeavesNoTrace(t *testing.T) {
	window := penstocktest.NewWindow[Order, Orders, Spend](t, CustomerSpend{}, "{}")
	rejects := window.Accumulate(0,
		Order{AmountCents: 1250},
		Order{AmountCents: -990, Coupon: penstock.Some("VIP")},
		Order{AmountCents: 3000, Coupon: penstock.Some("SPRING")},
	)
	if len(rejects) != 1 || rejects[0].Row != 1 || rejects[0].Code != "amount-out-of-range" {
		t.Errorf("rejects are %v", rejects)
	}
	output := window.Finish()
	if len(output) != 1 || output[0] != (Spend{2, 2125, penstock.Some("SPRING")}) {
		t.Errorf("output is %v", output)
	}
}

func TestTheLaterCouponWins(t *testing.T) {
	window := penstocktest.NewWindow[Order, Orders, Spend](t, CustomerSpend{}, "{}")
	later := window.Group()
	window.Accumulate(later, Order{AmountCents: 100, Coupon: penstock.Some("VIP")})
	window.Accumulate(0, Order{AmountCents: 100, Coupon: penstock.Some("SPRING")})
	window.Merge(0, later)
	if coupon := window.Finish()[0].LastCoupon; coupon != penstock.Some("VIP") {
		t.Errorf("the coupon is %v", coupon)
	}
}
