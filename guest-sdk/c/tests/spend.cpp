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

struct CustomerSpend {
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

#ifndef __wasm__
#define CHECK(what) \
    if (!(what)) { \
        std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
        return 1; \
    }

int main() {
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
