package abi

import "testing"

func TestTheAuthorsFunctionsAreToldFromGosAndOurs(t *testing.T) {
	modules := []string{"customer-spend", "penstock", "example.org/shop/money"}
	for function, expected := range map[string]bool{
		"main.CustomerSpend.Accumulate":            true,
		"main.init.0":                              true,
		"customer-spend/rules.Check[...]":          true,
		"example.org/shop/money.(*Sum).Add":        true,
		"example.org/shop/money/cents.Round.func1": true,
		"strings.Repeat":                           false,
		"encoding/json.(*Decoder).Decode":          false,
		"runtime.goPanicIndex":                     false,
		"penstock.(*windows[...]).fold":            false,
		"penstock/internal/abi.Call[...]":          false,
		"customer-spending.Check":                  false,
		"main":                                     false,
	} {
		if found := isAuthors(function, modules); found != expected {
			t.Errorf("%s: %t", function, found)
		}
	}
}

func TestAProgramIsOfSomeModule(t *testing.T) {
	// Of this one, natively: so nothing but package main is the author's.
	for _, module := range authorsModules() {
		if module == "penstock" {
			return
		}
	}
	t.Errorf("the modules are %v", authorsModules())
}
