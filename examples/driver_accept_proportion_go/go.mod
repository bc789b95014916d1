module driver_accept_proportion

go 1.24

require penstock v0.1.0

replace penstock => ./.penstock/sdk/go
