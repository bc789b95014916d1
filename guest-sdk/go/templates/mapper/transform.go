// What an order is worth.
package main

import (
	"strings"

	"penstock"
	"penstock/mapper"
)

// Order has the columns of an order that are wanted. The host decodes no others.
type Order struct {
	Customer    string
	AmountCents int64
}

// Worth is what comes out.
type Worth struct {
	Customer string
	Amount   float64
	IsLarge  bool
}

// OrderWorth is the mapper.
type OrderWorth struct{}

// Map gives what becomes of an order: nothing (it is left out), a row, or several.
func (OrderWorth) Map(order *Order, emit func(Worth)) error {
	if order.AmountCents < 0 {
		return penstock.Refuse("negative-amount", "an order of %d cents", order.AmountCents)
	}
	if strings.HasPrefix(order.Customer, "test-") {
		return nil
	}
	emit(Worth{
		Customer: order.Customer,
		Amount:   float64(order.AmountCents) / 100,
		IsLarge:  order.AmountCents > 2000,
	})
	return nil
}

func init() { mapper.Export[Order, Worth](OrderWorth{}) }

func main() {}
