// Package migration takes over states of older versions of a window: importing it exports the contract's migration.
package migration

import (
	"penstock"
	"penstock/window"
)

var exported penstock.Migrating

// Export exports migrations, made with penstock.From. Call it in init, beside window.Export.
func Export(takers ...penstock.Migration) {
	exported = penstock.Migrations(takers...)
	window.MigratesFrom(exported.Versions)
}
