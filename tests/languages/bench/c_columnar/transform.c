/* examples/driver_accept_proportion_c with a loop of its own over columns: what the bench compares. */

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

static inline void count(Counts *of, unsigned accepted) {
    of->offers += 1;
    of->accepted += accepted;
}

static const char *accumulate(const penstock_batch *batch, void *states, penstock_rejects *rejects) {
    Counts *const counts = states;
    const penstock_view accepted = *penstock_column_at(batch, 0);
    /* Of its own, so that the compiler need not read it again after each count that is written. */
    const uint32_t *const groups = batch->groups;
    const size_t rows = batch->rows;
    size_t row = 0;
    if (!penstock_batch_has_nulls(batch))
        /* A byte of the bitmap is of eight rows. */
        for (; row + 8 <= rows; row += 8) {
            const unsigned byte = accepted.values[row >> 3];
            for (unsigned bit = 0; bit < 8; bit++) count(&counts[groups[row + bit]], byte >> bit & 1);
        }
    for (; row < rows; row++) {
        if (penstock_is_null(&accepted, row)) {
            penstock_refuse_row(rejects, row, penstock_null_at(batch, row));
            continue;
        }
        count(&counts[groups[row]], penstock_bit(&accepted, row));
    }
    return NULL;
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
    .accumulate_columns = accumulate,
    .merge = merge,
    .finish = finish,
})
