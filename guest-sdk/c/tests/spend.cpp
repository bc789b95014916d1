// The template's window in C++: what a customer spends. Also a test that penstock.hpp compiles and agrees with C.

#include "penstock.hpp"

#include <cstdio>

struct Order {
    int64_t amount_cents;
    penstock::opt<penstock::text> coupon;
    penstock::list<penstock::opt<int32_t>> items;
    static auto columns() {
        return penstock::columns(penstock::column("amount_cents", &Order::amount_cents), penstock::column("coupon", &Order::coupon),
            penstock::column("items", &Order::items));
    }
};

struct Orders {
    uint64_t orders = 0;
    int64_t cents = 0;
    penstock::opt<penstock::text> last_coupon;
    static auto columns() {
        return penstock::columns(penstock::column("orders", &Orders::orders), penstock::column("cents", &Orders::cents),
            penstock::column("last_coupon", &Orders::last_coupon));
    }
};

struct Spend {
    double mean_cents;
    penstock::opt<penstock::text> last_coupon;
    static auto columns() {
        return penstock::columns(penstock::column("mean_cents", &Spend::mean_cents), penstock::column("last_coupon", &Spend::last_coupon));
    }
};

// A state of version 1.
struct OldOrders {
    int64_t cents;
    static auto columns() { return penstock::columns(penstock::column("cents", &OldOrders::cents)); }
};

struct CustomerSpend {
    static constexpr uint32_t state_version = 2;
    static Orders from_1(const OldOrders &old) { return {1, old.cents, {}}; }
    static auto migrations() { return penstock::migrations(penstock::from<from_1>(1)); }

    using Row = Order;
    using State = Orders;
    using Output = Spend;

    penstock::taken accumulate(Orders &state, const Order &order) const {
        if (order.amount_cents < 0) return penstock::refuse("negative", penstock::join({"an order of ", penstock_text_of_int(order.amount_cents)}));
        state.orders += 1;
        state.cents += order.amount_cents;
        for (const auto &item : order.items)
            if (item) state.cents += *item;
        if (order.coupon) state.last_coupon = order.coupon;
        return penstock::take();
    }
    void merge(Orders &earlier, const Orders &later) const {
        earlier.orders += later.orders;
        earlier.cents += later.cents;
        if (later.last_coupon) earlier.last_coupon = later.last_coupon;
    }
    void finish(const Orders &state, penstock_bounds, penstock::output<Spend> out) const {
        if (state.orders) out.emit({double(state.cents) / double(state.orders), state.last_coupon});
    }
};

PENSTOCK_WINDOW(penstock::window<CustomerSpend>())
PENSTOCK_MIGRATING

// The same orders, row by row and by columns: what each is worth.
struct Worth {
    penstock::list<penstock::opt<penstock_decimal128>> fares;
    penstock::list<penstock_decimal128> others;
    penstock::opt<penstock::list<penstock::list<penstock_timestamp_ms>>> times;
    penstock_decimal256 total;
    static auto columns() {
        return penstock::columns(penstock::column("fares", &Worth::fares).decimal("d:12,2"), penstock::column("others", &Worth::others).decimal("d:20,0"),
            penstock::column("times", &Worth::times).in_zone("Europe/Paris"), penstock::column("total", &Worth::total).decimal("d:40,2,256"));
    }
};

struct OrderWorth {
    using Row = Order;
    using Output = Worth;
    penstock::taken map(const Order &order, penstock::output<Worth> out) const {
        if (order.amount_cents < 0) return penstock::refuse("negative", "below 0");
        Worth worth{};
        worth.total.words[0] = uint64_t(order.amount_cents);
        if (order.amount_cents) out.emit(worth);
        return penstock::take();
    }
};

struct OrderWorthByColumns {
    using Row = Order;
    using Output = Worth;
    const char *map_columns(const penstock_batch &batch, penstock::output<Worth> out, penstock_rejects &rejects) const {
        const int64_t *cents = penstock::values<int64_t>(batch, 0);
        for (size_t row = 0; row < batch.rows; row++) {
            Worth worth{};
            worth.total.words[0] = uint64_t(cents[row]);
            if (cents[row] < 0) penstock_refuse_row(&rejects, row, penstock::refuse("negative", "below 0"));
            else if (cents[row]) out.emit_from(row, worth);
        }
        return nullptr;
    }
};

PENSTOCK_MAPPER(penstock::mapper<OrderWorthByColumns>())

#ifndef __wasm__
#define CHECK(what) \
    if (!(what)) { \
        std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
        return 1; \
    }

static int both_forms_of_a_mapper_give_the_same() {
    const penstock_mapper by_rows = penstock::mapper<OrderWorth>();
    const Order orders[] = {{1000, {}, {}}, {-1, {}, {}}, {0, {}, {}}, {7, {}, {}}};
    for (const penstock_mapper *mapper : {&by_rows, penstock_the_mapper()}) {
        const penstock_columns rows = penstock_write_all(&mapper->row, orders, 4, nullptr);
        const penstock_event event = {penstock::text("order"), penstock_describe(&mapper->row)};
        const penstock_opening opening = {penstock::text("{}"), &event, 1, {}};
        penstock_layout layout{};
        penstock_output output{};
        penstock_rejects rejects{};
        CHECK(!penstock_open_mapping(mapper, &opening, &layout).failed);
        CHECK(!penstock_map(mapper, &layout, &rows, &output, &rejects).failed);
        CHECK(rejects.count == 1 && rejects.rows[0].row == 1);
        const Worth *made = reinterpret_cast<const Worth *>(output.rows);
        CHECK(output.count == 2 && output.sources[0] == 0 && output.sources[1] == 3);
        CHECK(made[0].total.words[0] == 1000 && made[1].total.words[0] == 7);
    }
    return 0;
}

static int what_is_said_of_a_list_is_said_of_its_items() {
    const penstock_record record = penstock_the_mapper()->output;
    const penstock_schema schema = penstock_describe(&record);
    const char *const formats[] = {"+l", "d:12,2", "+l", "d:20,0", "+l", "+l", "tsm:Europe/Paris", "d:40,2,256"};
    CHECK(schema.count == sizeof formats / sizeof formats[0]);
    for (size_t at = 0; at < schema.count; at++) CHECK(penstock_text_is(schema.fields[at].format, formats[at]));
    CHECK(record.columns[0].item->nullable && !record.columns[1].item->nullable);
    CHECK(record.columns[2].item->item->line == record.columns[2].line && record.columns[2].item->file);
    return 0;
}

static int states_of_older_versions_are_taken_over() {
    const penstock_window &window = *penstock_the_window();
    CHECK(window.state_version == 2 && window.migration_count == 1 && window.migrations[0].version == 1);
    const OldOrders old[] = {{5}, {7}};
    const penstock_schema schema = penstock_describe(&window.migrations[0].old);
    const penstock_columns from = penstock_write_all(&window.migrations[0].old, old, 2, nullptr);
    penstock_columns into{};
    CHECK(!penstock_migrate(&window, 1, &schema, &from, &into).failed);
    penstock_layout layout{};
    penstock_lay_out_own(&window.state, &layout);
    const Orders *states = static_cast<const Orders *>(penstock_read_all(&window.state, &layout, &into));
    CHECK(into.rows == 2 && states[1].orders == 1 && states[1].cents == 7 && !states[1].last_coupon);
    free(layout.slots);
    return 0;
}

int main() {
    if (both_forms_of_a_mapper_give_the_same() || what_is_said_of_a_list_is_said_of_its_items()) return 1;
    if (states_of_older_versions_are_taken_over()) return 1;
    const penstock_window &window = *penstock_the_window();
    CHECK(window.row.count == 3 && window.row.columns[1].nullable && window.row.columns[2].item->nullable);

    penstock::list<penstock::opt<int32_t>> items = penstock::make_list<penstock::opt<int32_t>>(2);
    items[0] = 5;
    const Order orders[] = {{1000, penstock::text("VIP"), items}, {-1, {}, {}}, {500, {}, {}}};
    const uint32_t groups[] = {0, 0, 0};
    const Orders initial{};
    const penstock_columns rows = penstock_write_all(&window.row, orders, 3, nullptr);
    const penstock_columns states = penstock_write_all(&window.state, &initial, 1, nullptr);
    const penstock_columns keys = {1, nullptr, 0};

    penstock_opened opened{};
    const penstock_event event = {penstock::text("order"), penstock_describe(&window.row)};
    const penstock_opening opening = {penstock::text("{}"), &event, 1, {}};
    CHECK(!penstock_open(&window, &opening, &opened).failed);
    penstock_updated updated;
    CHECK(!penstock_accumulate(&window, &opened, &rows, groups, &keys, &states, &updated).failed);
    CHECK(updated.rejects.count == 1 && updated.rejects.rows[0].row == 1);
    CHECK(std::string_view(penstock::text(updated.rejects.rows[0].detail)) == "an order of -1");
    const Orders *after = static_cast<const Orders *>(penstock_read_all(&window.state, &opened.state, &updated.states));
    CHECK(after->orders == 2 && after->cents == 1505 && std::string_view(*after->last_coupon) == "VIP");
    std::puts("spend: fine");
    return 0;
}
#endif
