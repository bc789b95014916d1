// penstock.hpp: write Penstock transforms in C++ (C++20), on top of penstock.h.
//
//     struct Offer {
//         bool accepted;
//         static auto columns() { return penstock::columns(penstock::column("accepted", &Offer::accepted)); }
//     };
//
//     struct Shares {
//         using Row = Offer; using State = Counts; using Output = Share;
//         penstock::taken accumulate(Counts &counts, const Offer &offer) const { ...; return penstock::take(); }
//         void merge(Counts &earlier, const Counts &later) const { ... }
//         void finish(const Counts &counts, penstock_bounds, penstock::output<Share> out) const { out.emit({...}); }
//     };
//     PENSTOCK_WINDOW(penstock::window<Shares>())
//
// Members are plain values: numbers, bool, the types of penstock.h (penstock_timestamp_us and so on), penstock::text,
// penstock::bytes, std::array<uint8_t, N>, penstock::opt<T>, penstock::list<T>, and structs with columns() of their own.
// They own nothing: texts and lists live until the call ends, and penstock::copy makes such a text. A transform with a
// configuration has `const char *open(penstock::text config)`; one that sees its keys has `using Key` and takes a
// `const Key &` first in accumulate and finish. One that takes over older states has a function for each version,
// `static Counts from_1(const Old &)`, names them in `static auto migrations() { return penstock::migrations(penstock::from<from_1>(1)); }`,
// and says PENSTOCK_MIGRATING behind PENSTOCK_WINDOW(...).
#ifndef PENSTOCK_HPP
#define PENSTOCK_HPP

#include "penstock.h"

#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace penstock {

// Text that somebody else owns.
struct text : penstock_text {
    text() : penstock_text{"", 0} {}
    text(std::string_view of) : penstock_text{of.data(), of.size()} {}
    text(const char *of) : text(std::string_view(of)) {}
    text(penstock_text of) : penstock_text(of) {}
    operator std::string_view() const { return {data, length}; }
};

// Bytes that somebody else owns.
struct bytes : penstock_bytes {};

// A value that may be null. It is laid out as penstock_opt_... are.
template <class T> struct opt {
    bool has = false;
    T value{};
    opt() = default;
    opt(T of) : has(true), value(of) {}
    explicit operator bool() const { return has; }
    const T &operator*() const { return value; }
    const T *operator->() const { return &value; }
};

// Items that somebody else owns.
template <class T> struct list {
    T *items = nullptr;
    size_t length = 0;
    T *begin() const { return items; }
    T *end() const { return items + length; }
    size_t size() const { return length; }
    T &operator[](size_t at) const { return items[at]; }
};

// A text or list of its own, which lives until the call ends.
inline text copy(std::string_view of) {
    char *made = static_cast<char *>(penstock_allocate(of.size() + 1));
    memcpy(made, of.data(), of.size());
    return std::string_view(made, of.size());
}
template <class T> list<T> make_list(size_t length) {
    T *items = static_cast<T *>(penstock_allocate(length * sizeof(T)));
    for (size_t at = 0; at < length; at++) new (items + at) T();
    return {items, length};
}
inline text join(std::initializer_list<text> parts) {
    penstock_text *all = static_cast<penstock_text *>(penstock_allocate(parts.size() * sizeof(penstock_text)));
    size_t count = 0;
    for (const text &part : parts) all[count++] = part;
    return penstock_join_all(all, count);
}

// What becomes of a row.
using taken = penstock_reject;
inline taken take() { return penstock_reject{}; }
inline taken refuse(const char *code, text detail) { return penstock_refuse(code, detail); }
inline taken fail(const char *why) { return penstock_fail(why); }

inline void log(penstock_level level, text line) { penstock_log(level, line); }
inline void count(const char *name, uint64_t amount) { penstock_count(name, amount); }
inline void observe(const char *name, double value) { penstock_observe(name, value); }

namespace detail {

template <class T> struct kind_of;
#define PENSTOCK_CPP_KIND(name, type, format, width, called) \
    template <> struct kind_of<type> { static constexpr penstock_kind kind = PENSTOCK_KIND_##name; };
PENSTOCK_SCALARS(PENSTOCK_CPP_KIND)
#undef PENSTOCK_CPP_KIND
template <> struct kind_of<text> { static constexpr penstock_kind kind = PENSTOCK_KIND_text; };
template <> struct kind_of<bytes> { static constexpr penstock_kind kind = PENSTOCK_KIND_bytes; };
template <> struct kind_of<penstock_decimal128> { static constexpr penstock_kind kind = PENSTOCK_KIND_decimal128; };
template <> struct kind_of<penstock_decimal256> { static constexpr penstock_kind kind = PENSTOCK_KIND_decimal256; };

template <class T> concept scalar = requires { kind_of<T>::kind; };
template <class T> concept nested = requires { T::columns(); };
template <class T> struct is_opt : std::false_type {};
template <class T> struct is_opt<opt<T>> : std::true_type { using of = T; };
template <class T> struct is_list : std::false_type {};
template <class T> struct is_list<list<T>> : std::true_type { using of = T; };
template <class T> struct is_fixed : std::false_type {};
template <size_t N> struct is_fixed<std::array<uint8_t, N>> : std::true_type {};

template <class T> penstock_record record_of();

// A column of type T at the offset 0.
template <class T> penstock_column column_of() {
    penstock_column made{};
    if constexpr (is_opt<T>::value) {
        static const opt<typename is_opt<T>::of> place{};
        made = column_of<typename is_opt<T>::of>();
        made.nullable = true;
        made.value += uint32_t(reinterpret_cast<const char *>(&place.value) - reinterpret_cast<const char *>(&place));
    } else if constexpr (is_list<T>::value) {
        using item = typename is_list<T>::of;
        static const penstock_column of = [] {
            penstock_column made = column_of<item>();
            made.name = "item";
            return made;
        }();
        made.kind = PENSTOCK_KIND_list;
        made.item = &of;
        made.item_size = sizeof(item);
    } else if constexpr (is_fixed<T>::value) {
        made.kind = PENSTOCK_KIND_fixed;
        made.size = sizeof(T);
    } else if constexpr (nested<T>) {
        made.kind = PENSTOCK_KIND_struct;
        made.record = record_of<T>();
    } else {
        static_assert(scalar<T>, "no column has this type: see the head of penstock.hpp for those that there are");
        made.kind = kind_of<T>::kind;
    }
    return made;
}

template <class T> penstock_record record_of() {
    if constexpr (std::is_void_v<T>) {
        return {};
    } else {
        static const auto columns = T::columns();
        return {columns.data(), uint32_t(columns.size()), sizeof(T)};
    }
}

template <class T> struct key_of { using type = void; };
template <class T> requires requires { typename T::Key; } struct key_of<T> { using type = typename T::Key; };

} // namespace detail

// A column, as a member of a struct: column("fare", &Ride::fare), and .decimal(...) or .in_zone(...) after it where it needs one.
// What they say of a list, they say of its items.
struct column_spec : penstock_column {
    // `format` is "d:12,2" for decimal128[12, 2], and "d:40,2,256" for one of 256 bits.
    column_spec decimal(const char *decimal_format) const {
        return changed([=](penstock_column &leaf) { leaf.format = decimal_format; });
    }
    column_spec in_zone(const char *name) const {
        return changed([=](penstock_column &leaf) { leaf.zone = name; });
    }
    // Where it was written; errors about items say so too.
    column_spec at(const char *in_file, uint32_t in_line) const {
        return changed([](penstock_column &) {}, [=](penstock_column &each) {
            each.file = in_file;
            each.line = in_line;
        });
    }

private:
    // A copy with a table of its own for each level of items: those of all lists of a type are one. Tables stay for good.
    template <class Leaf, class Each = void (*)(penstock_column &)>
    column_spec changed(Leaf change_leaf, Each change_each = [](penstock_column &) {}) const {
        column_spec made = *this;
        penstock_column *leaf = &made;
        change_each(*leaf);
        while (leaf->item) {
            penstock_column *own = static_cast<penstock_column *>(malloc(sizeof(penstock_column)));
            *own = *leaf->item;
            change_each(*own);
            leaf->item = own;
            leaf = own;
        }
        change_leaf(*leaf);
        return made;
    }
};

template <class Struct, class Member>
column_spec column(const char *name, Member Struct::*member, const char *file = __builtin_FILE(), uint32_t line = __builtin_LINE()) {
    static const Struct place{};
    const uint32_t offset = uint32_t(reinterpret_cast<const char *>(&(place.*member)) - reinterpret_cast<const char *>(&place));
    column_spec made{detail::column_of<Member>()};
    made.name = name;
    made.has += offset;
    made.value += offset;
    return made.at(file, line);
}

// The table of a struct's columns.
template <class... Specs> std::array<penstock_column, sizeof...(Specs)> columns(Specs... specs) { return {{specs...}}; }

// Where a transform gives rows to.
template <class Row> struct output {
    penstock_output *to;
    void emit(const Row &row) const { penstock_emit(to, &row); }
    void emit_from(size_t source, const Row &row) const { penstock_emit_from(to, source, &row); }
};

// The values of a column of a batch.
template <class T> const T *values(const penstock_batch &batch, uint32_t number) {
    return static_cast<const T *>(penstock_values(penstock_column_at(&batch, number)));
}

namespace detail {

template <class Function> struct taking_over;
template <class State, class Old> struct taking_over<State (*)(const Old &)> {
    using state = State;
    using old = Old;
};

} // namespace detail

// Takes over states of a version with a function that makes one of now of each.
template <auto Function> penstock_migration from(uint32_t version) {
    using State = typename detail::taking_over<decltype(Function)>::state;
    using Old = typename detail::taking_over<decltype(Function)>::old;
    static_assert(std::is_trivially_copyable_v<Old>, "old states are plain values: use penstock::text and penstock::list");
    penstock_migration made{};
    made.version = version;
    made.old = detail::record_of<Old>();
    made.migrate = [](const void *old, void *state) { *static_cast<State *>(state) = Function(*static_cast<const Old *>(old)); };
    return made;
}

// All that are taken over.
template <class... Each> std::array<penstock_migration, sizeof...(Each)> migrations(Each... each) { return {{each...}}; }

// The tables and functions of a window, for PENSTOCK_WINDOW.
template <class T> penstock_window window() {
    using Row = typename T::Row;
    using State = typename T::State;
    using Output = typename T::Output;
    using Key = typename detail::key_of<T>::type;
    static_assert(std::is_trivially_copyable_v<Row> && std::is_trivially_copyable_v<State> && std::is_trivially_copyable_v<Output>,
        "rows, states and outputs are plain values: use penstock::text and penstock::list in place of what owns memory");
    static T transform{};
    static const State initial{};
    penstock_window made{};
    made.row = detail::record_of<Row>();
    made.key = detail::record_of<Key>();
    made.state = detail::record_of<State>();
    made.output = detail::record_of<Output>();
    made.initial = &initial;
    if constexpr (requires { T::state_version; }) made.state_version = T::state_version;
    if constexpr (requires { T::migrations(); }) {
        static const auto migrations = T::migrations();
        made.migrations = migrations.data();
        made.migration_count = uint32_t(migrations.size());
    }
    if constexpr (requires(text config) { transform.open(config); })
        made.open = [](penstock_text config) -> const char * { return transform.open(text(config)); };
    if constexpr (requires(const penstock_batch &batch, State *states, penstock_rejects &rejects) {
                      transform.accumulate_columns(batch, states, rejects);
                  }) {
        made.accumulate_columns = [](const penstock_batch *batch, void *states, penstock_rejects *rejects) -> const char * {
            return transform.accumulate_columns(*batch, static_cast<State *>(states), *rejects);
        };
    } else {
        made.accumulate = [](const void *key, void *state, const void *row) -> penstock_reject {
            (void)key;
            if constexpr (std::is_void_v<Key>)
                return transform.accumulate(*static_cast<State *>(state), *static_cast<const Row *>(row));
            else
                return transform.accumulate(*static_cast<const Key *>(key), *static_cast<State *>(state), *static_cast<const Row *>(row));
        };
    }
    made.merge = [](void *earlier, const void *later) {
        transform.merge(*static_cast<State *>(earlier), *static_cast<const State *>(later));
    };
    made.finish = [](const void *key, const void *state, penstock_bounds bounds, penstock_output *to) {
        (void)key;
        if constexpr (std::is_void_v<Key>)
            transform.finish(*static_cast<const State *>(state), bounds, output<Output>{to});
        else
            transform.finish(*static_cast<const Key *>(key), *static_cast<const State *>(state), bounds, output<Output>{to});
    };
    return made;
}

// The tables and functions of a mapper, for PENSTOCK_MAPPER.
template <class T> penstock_mapper mapper() {
    using Row = typename T::Row;
    using Output = typename T::Output;
    static T transform{};
    penstock_mapper made{};
    made.row = detail::record_of<Row>();
    made.output = detail::record_of<Output>();
    if constexpr (requires(text config) { transform.open(config); })
        made.open = [](penstock_text config) -> const char * { return transform.open(text(config)); };
    if constexpr (requires(const penstock_batch &batch, output<Output> to, penstock_rejects &rejects) {
                      transform.map_columns(batch, to, rejects);
                  }) {
        made.map_columns = [](const penstock_batch *batch, penstock_output *to, penstock_rejects *rejects) -> const char * {
            return transform.map_columns(*batch, output<Output>{to}, *rejects);
        };
    } else {
        made.map = [](const void *row, penstock_output *to) -> penstock_reject {
            return transform.map(*static_cast<const Row *>(row), output<Output>{to});
        };
    }
    return made;
}

} // namespace penstock

#endif
