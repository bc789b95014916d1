/* What an order is worth. */

#include "penstock.h"

/* The columns of an order that are wanted. The host decodes no others. */
typedef struct {
    penstock_text customer;
    int64_t amount_cents;
} Order;
static const penstock_column ORDER[] = {
    PENSTOCK_COLUMN(Order, customer),
    PENSTOCK_COLUMN(Order, amount_cents),
};

/* What comes out. */
typedef struct {
    penstock_text customer;
    double amount;
    bool is_large;
} Worth;
static const penstock_column WORTH[] = {
    PENSTOCK_COLUMN(Worth, customer),
    PENSTOCK_COLUMN(Worth, amount),
    PENSTOCK_COLUMN(Worth, is_large),
};

/* Gives what becomes of a row: nothing (it is left out), a row, or several. */
static penstock_reject map(const void *row, penstock_output *output) {
    const Order *order = row;
    if (order->amount_cents < 0)
        return penstock_refuse("negative-amount",
            penstock_join(penstock_text_of("an order of "), penstock_text_of_int(order->amount_cents), penstock_text_of(" cents")));
    if (penstock_begins(order->customer, "test-")) return PENSTOCK_TAKEN;
    Worth worth = {
        .customer = order->customer,
        .amount = (double)order->amount_cents / 100.0,
        .is_large = order->amount_cents > 2000,
    };
    penstock_emit(output, &worth);
    return PENSTOCK_TAKEN;
}

PENSTOCK_MAPPER({
    .row = PENSTOCK_RECORD(Order, ORDER),
    .output = PENSTOCK_RECORD(Worth, WORTH),
    .map = map,
})
