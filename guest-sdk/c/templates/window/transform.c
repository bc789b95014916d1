/* What a customer spends. */

#include "penstock.h"

/* The columns of an order that are wanted. The host decodes no others. A member's type is its column's; penstock_opt_…
 * takes nulls, and a row with a null elsewhere is rejected before it comes here. */
typedef struct {
    int64_t amount_cents;
    penstock_opt_text coupon;
} Order;
static const penstock_column ORDER[] = {
    PENSTOCK_COLUMN(Order, amount_cents),
    PENSTOCK_COLUMN(Order, coupon),
};

/* What is remembered of a customer. It begins with zeros and nulls. */
typedef struct {
    uint64_t orders;
    int64_t cents;
    penstock_opt_text last_coupon;
} Orders;
static const penstock_column ORDERS[] = {
    PENSTOCK_COLUMN(Orders, orders),
    PENSTOCK_COLUMN(Orders, cents),
    PENSTOCK_COLUMN(Orders, last_coupon),
};

/* What comes out. The host adds the customer and the window. */
typedef struct {
    uint64_t orders;
    double mean_cents;
    penstock_opt_text last_coupon;
} Spend;
static const penstock_column SPEND[] = {
    PENSTOCK_COLUMN(Spend, orders),
    PENSTOCK_COLUMN(Spend, mean_cents),
    PENSTOCK_COLUMN(Spend, last_coupon),
};

/* Adds an order to a state, or refuses it. */
static penstock_reject accumulate(const void *key, void *state, const void *row) {
    (void)key;
    Orders *orders = state;
    const Order *order = row;
    if (order->amount_cents < 0 || order->amount_cents > 100000000)
        return penstock_refuse("amount-out-of-range",
            penstock_join(penstock_text_of("an order of "), penstock_text_of_int(order->amount_cents), penstock_text_of(" cents")));
    orders->orders += 1;
    orders->cents += order->amount_cents;
    if (order->coupon.has) orders->last_coupon = order->coupon;
    return PENSTOCK_TAKEN;
}

/* Adds the state of a later slice of time to that of an earlier one. */
static void merge(void *into, const void *from) {
    Orders *earlier = into;
    const Orders *later = from;
    earlier->orders += later->orders;
    earlier->cents += later->cents;
    if (later->last_coupon.has) earlier->last_coupon = later->last_coupon;
}

/* Makes output of the state of a window that has closed. */
static void finish(const void *key, const void *state, penstock_bounds bounds, penstock_output *output) {
    (void)key, (void)bounds;
    const Orders *orders = state;
    if (orders->orders == 0) return;
    Spend spend = {
        .orders = orders->orders,
        .mean_cents = (double)orders->cents / (double)orders->orders,
        .last_coupon = orders->last_coupon,
    };
    penstock_emit(output, &spend);
}

PENSTOCK_WINDOW({
    .row = PENSTOCK_RECORD(Order, ORDER),
    .state = PENSTOCK_RECORD(Orders, ORDERS),
    .output = PENSTOCK_RECORD(Spend, SPEND),
    .accumulate = accumulate,
    .merge = merge,
    .finish = finish,
})
