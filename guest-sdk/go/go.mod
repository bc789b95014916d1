module penstock

go 1.24
