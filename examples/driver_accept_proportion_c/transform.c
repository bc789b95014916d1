/* The share of its offers that a driver accepted, and how many offers that were. */

#include "penstock.h"

typedef struct { bool accepted; } Offer;
static const penstock_column OFFER[] = { PENSTOCK_COLUMN(Offer, accepted) };

typedef struct { uint64_t offers, accepted; } Counts;
static const penstock_column COUNTS[] = { PENSTOCK_COLUMN(Counts, offers), PENSTOCK_COLUMN(Counts, accepted) };

typedef struct { double driver_accept_proportion_10m; uint64_t driver_offers_10m; } Acceptance;
static const penstock_column ACCEPTANCE[] = {
    PENSTOCK_COLUMN(Acceptance, driver_accept_proportion_10m),
    PENSTOCK_COLUMN(Acceptance, driver_offers_10m),
};

static penstock_reject accumulate(const void *key, void *state, const void *row) {
    (void)key;
    Counts *counts = state;
    counts->offers += 1;
    counts->accepted += ((const Offer *)row)->accepted;
    return PENSTOCK_TAKEN;
}

static void merge(void *earlier, const void *later) {
    Counts *into = earlier;
    const Counts *from = later;
    into->offers += from->offers;
    into->accepted += from->accepted;
}

static void finish(const void *key, const void *state, penstock_bounds bounds, penstock_output *output) {
    (void)key, (void)bounds;
    const Counts *counts = state;
    if (counts->offers == 0) return;
    Acceptance acceptance = { (double)counts->accepted / (double)counts->offers, counts->offers };
    penstock_emit(output, &acceptance);
}

PENSTOCK_WINDOW({
    .row = PENSTOCK_RECORD(Offer, OFFER),
    .state = PENSTOCK_RECORD(Counts, COUNTS),
    .output = PENSTOCK_RECORD(Acceptance, ACCEPTANCE),
    .accumulate = accumulate,
    .merge = merge,
    .finish = finish,
})
