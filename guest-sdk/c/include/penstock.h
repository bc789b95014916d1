/* penstock.h: write Penstock transforms in C (C11).
 *
 * A transform says in tables which columns it wants, what it remembers and what comes out, and has a function
 * for each thing to do:
 *
 *     typedef struct { bool accepted; } Offer;
 *     static const penstock_column OFFER[] = { PENSTOCK_COLUMN(Offer, accepted) };
 *
 *     static penstock_reject accumulate(const void *key, void *state, const void *row) { ... }
 *
 *     PENSTOCK_WINDOW({
 *         .row = PENSTOCK_RECORD(Offer, OFFER),
 *         .state = PENSTOCK_RECORD(Counts, COUNTS),
 *         .output = PENSTOCK_RECORD(Share, SHARE),
 *         .accumulate = accumulate, .merge = merge, .finish = finish,
 *     })
 *
 * Everything is in this file. It needs memcpy, memcmp, strlen, malloc and free, and no bindings: it speaks the
 * canonical ABI of the contract (penstock:transform@0.1.0) itself. Texts and lists that come out of a row or a state
 * live until the call ends, and so does what penstock_allocate gives.
 */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PENSTOCK_VERSION "0.1.0"

#ifdef __cplusplus
#define PENSTOCK_ZERO {}
extern "C" {
#else
#define PENSTOCK_ZERO {0}
#endif

#define PENSTOCK_INTERNAL static __attribute__((unused))
#if defined(__wasm__)
#define PENSTOCK_SHARED __attribute__((weak))
#else
#include <stdio.h>
#define PENSTOCK_SHARED static __attribute__((unused))
#endif

/* ---- Values ------------------------------------------------------------------------------------------------- */

/* Text in UTF-8; it does not end with a zero. */
typedef struct { const char *data; size_t length; } penstock_text;
typedef struct { const uint8_t *data; size_t length; } penstock_bytes;
/* Items behind each other; what they are, the column's table says. */
typedef struct { void *items; size_t length; } penstock_list;

/* Dates, times and such hold the number that Arrow holds, and no calendar. */
typedef struct { uint16_t bits; } penstock_float16;
typedef struct { int32_t value; } penstock_date;
typedef struct { int64_t value; } penstock_date_millis;
typedef struct { int32_t value; } penstock_time_s;
typedef struct { int32_t value; } penstock_time_ms;
typedef struct { int64_t value; } penstock_time_us;
typedef struct { int64_t value; } penstock_time_ns;
/* Instants: in UTC, or in the zone of PENSTOCK_ZONED. */
typedef struct { int64_t value; } penstock_timestamp_s;
typedef struct { int64_t value; } penstock_timestamp_ms;
typedef struct { int64_t value; } penstock_timestamp_us;
typedef struct { int64_t value; } penstock_timestamp_ns;
/* Times on a calendar and a clock of no zone. */
typedef struct { int64_t value; } penstock_local_s;
typedef struct { int64_t value; } penstock_local_ms;
typedef struct { int64_t value; } penstock_local_us;
typedef struct { int64_t value; } penstock_local_ns;
typedef struct { int64_t value; } penstock_duration_s;
typedef struct { int64_t value; } penstock_duration_ms;
typedef struct { int64_t value; } penstock_duration_us;
typedef struct { int64_t value; } penstock_duration_ns;
/* The unscaled whole number, in two's complement, least significant word first. */
typedef struct { uint64_t words[2]; } penstock_decimal128;
typedef struct { uint64_t words[4]; } penstock_decimal256;

/* X(name, C type, format, bytes on the wire, what people call it) for every type that PENSTOCK_COLUMN knows but text. */
#define PENSTOCK_SCALARS(X) \
    X(bool, bool, "b", 0, "bool") \
    X(int8, int8_t, "c", 1, "int8") \
    X(int16, int16_t, "s", 2, "int16") \
    X(int32, int32_t, "i", 4, "int32") \
    X(int64, int64_t, "l", 8, "int64") \
    X(uint8, uint8_t, "C", 1, "uint8") \
    X(uint16, uint16_t, "S", 2, "uint16") \
    X(uint32, uint32_t, "I", 4, "uint32") \
    X(uint64, uint64_t, "L", 8, "uint64") \
    X(float16, penstock_float16, "e", 2, "float16") \
    X(float32, float, "f", 4, "float32") \
    X(float64, double, "g", 8, "float64") \
    X(date, penstock_date, "tdD", 4, "date32") \
    X(date_millis, penstock_date_millis, "tdm", 8, "date64") \
    X(time_s, penstock_time_s, "tts", 4, "time32[s]") \
    X(time_ms, penstock_time_ms, "ttm", 4, "time32[ms]") \
    X(time_us, penstock_time_us, "ttu", 8, "time64[us]") \
    X(time_ns, penstock_time_ns, "ttn", 8, "time64[ns]") \
    X(timestamp_s, penstock_timestamp_s, "tss:UTC", 8, "timestamp[s, UTC]") \
    X(timestamp_ms, penstock_timestamp_ms, "tsm:UTC", 8, "timestamp[ms, UTC]") \
    X(timestamp_us, penstock_timestamp_us, "tsu:UTC", 8, "timestamp[us, UTC]") \
    X(timestamp_ns, penstock_timestamp_ns, "tsn:UTC", 8, "timestamp[ns, UTC]") \
    X(local_s, penstock_local_s, "tss:", 8, "timestamp[s]") \
    X(local_ms, penstock_local_ms, "tsm:", 8, "timestamp[ms]") \
    X(local_us, penstock_local_us, "tsu:", 8, "timestamp[us]") \
    X(local_ns, penstock_local_ns, "tsn:", 8, "timestamp[ns]") \
    X(duration_s, penstock_duration_s, "tDs", 8, "duration[s]") \
    X(duration_ms, penstock_duration_ms, "tDm", 8, "duration[ms]") \
    X(duration_us, penstock_duration_us, "tDu", 8, "duration[us]") \
    X(duration_ns, penstock_duration_ns, "tDn", 8, "duration[ns]")

/* penstock_opt_int64 and so on: a value that may be null. `value` counts only where `has` is true. */
#define PENSTOCK_OPT(name, type) typedef struct { bool has; type value; } penstock_opt_##name;
#define PENSTOCK_OPT_OF(name, type, format, width, called) typedef struct { bool has; type value; } penstock_opt_##name;
PENSTOCK_SCALARS(PENSTOCK_OPT_OF)
PENSTOCK_OPT(text, penstock_text)
PENSTOCK_OPT(bytes, penstock_bytes)
PENSTOCK_OPT(list, penstock_list)
PENSTOCK_OPT(decimal128, penstock_decimal128)
PENSTOCK_OPT(decimal256, penstock_decimal256)

#define PENSTOCK_KIND_OF(name, type, format, width, called) PENSTOCK_KIND_##name,
typedef enum {
    PENSTOCK_SCALARS(PENSTOCK_KIND_OF)
    PENSTOCK_KIND_text,
    PENSTOCK_KIND_bytes,
    PENSTOCK_KIND_decimal128,
    PENSTOCK_KIND_decimal256,
    PENSTOCK_KIND_fixed,
    PENSTOCK_KIND_list,
    PENSTOCK_KIND_struct
} penstock_kind;

/* ---- Tables of columns --------------------------------------------------------------------------------------- */

typedef struct penstock_column penstock_column;

/* A struct whose members are columns. PENSTOCK_RECORD makes one. */
typedef struct {
    const penstock_column *columns;
    uint32_t count;
    uint32_t size;
} penstock_record;

/* A column, and where in a struct its values go. The macros below make them. */
struct penstock_column {
    const char *name;
    const char *file;
    uint32_t line;
    penstock_kind kind;
    bool nullable;
    uint32_t has;       /* Offset of `has`, if it takes nulls. */
    uint32_t value;     /* Offset of the value. */
    uint32_t size;      /* Bytes of a value of fixed size. */
    const char *format; /* For decimals; of others the kind says it. */
    const char *zone;   /* For timestamps in another zone than UTC. */
    penstock_record record;      /* For structs. */
    const penstock_column *item; /* For lists: the item, at the offset 0. */
    uint32_t item_size;          /* For lists: bytes from an item to the next. */
};

#ifndef __cplusplus

#define PENSTOCK_IS(name, type, format, width, called) type: PENSTOCK_KIND_##name, penstock_opt_##name: PENSTOCK_KIND_##name,
#define PENSTOCK_IS_OPT(name, type, format, width, called) type: false, penstock_opt_##name: true,
#define PENSTOCK_AT(name, type, format, width, called) type: 0, penstock_opt_##name: offsetof(penstock_opt_##name, value),
#define PENSTOCK_KIND(x) _Generic((x), PENSTOCK_SCALARS(PENSTOCK_IS) \
    penstock_text: PENSTOCK_KIND_text, penstock_opt_text: PENSTOCK_KIND_text, \
    penstock_bytes: PENSTOCK_KIND_bytes, penstock_opt_bytes: PENSTOCK_KIND_bytes, \
    penstock_decimal128: PENSTOCK_KIND_decimal128, penstock_opt_decimal128: PENSTOCK_KIND_decimal128, \
    penstock_decimal256: PENSTOCK_KIND_decimal256, penstock_opt_decimal256: PENSTOCK_KIND_decimal256, \
    penstock_list: PENSTOCK_KIND_list, penstock_opt_list: PENSTOCK_KIND_list)
#define PENSTOCK_NULLABLE(x) _Generic((x), PENSTOCK_SCALARS(PENSTOCK_IS_OPT) \
    penstock_text: false, penstock_opt_text: true, penstock_bytes: false, penstock_opt_bytes: true, \
    penstock_decimal128: false, penstock_opt_decimal128: true, penstock_decimal256: false, penstock_opt_decimal256: true, \
    penstock_list: false, penstock_opt_list: true)
#define PENSTOCK_VALUE_AT(x) _Generic((x), PENSTOCK_SCALARS(PENSTOCK_AT) \
    penstock_text: 0, penstock_opt_text: offsetof(penstock_opt_text, value), \
    penstock_bytes: 0, penstock_opt_bytes: offsetof(penstock_opt_bytes, value), \
    penstock_decimal128: 0, penstock_opt_decimal128: offsetof(penstock_opt_decimal128, value), \
    penstock_decimal256: 0, penstock_opt_decimal256: offsetof(penstock_opt_decimal256, value), \
    penstock_list: 0, penstock_opt_list: offsetof(penstock_opt_list, value))
#define PENSTOCK_MEMBER(type, member) (((type *)0)->member)
#define PENSTOCK_PLACED(called, type, member) \
    .name = called, .file = __FILE__, .line = __LINE__, \
    .kind = PENSTOCK_KIND(PENSTOCK_MEMBER(type, member)), .nullable = PENSTOCK_NULLABLE(PENSTOCK_MEMBER(type, member)), \
    .has = offsetof(type, member), .value = offsetof(type, member) + PENSTOCK_VALUE_AT(PENSTOCK_MEMBER(type, member))

/* A member of any type above; its type says the column's, and penstock_opt_… that it takes nulls. */
#define PENSTOCK_COLUMN(type, member) { PENSTOCK_PLACED(#member, type, member) }
/* The same, of a column of another name. All that follow have such a form. */
#define PENSTOCK_COLUMN_AS(name, type, member) { PENSTOCK_PLACED(name, type, member) }
/* A timestamp in a zone: PENSTOCK_ZONED(Row, at, "Europe/Paris"). */
#define PENSTOCK_ZONED(type, member, in_zone) PENSTOCK_ZONED_AS(#member, type, member, in_zone)
#define PENSTOCK_ZONED_AS(name, type, member, in_zone) { PENSTOCK_PLACED(name, type, member), .zone = in_zone }
/* A decimal: PENSTOCK_DECIMAL(Row, fare, 12, 2), of 128 or 256 bits by the member's type. */
#define PENSTOCK_DECIMAL(type, member, precision, scale) PENSTOCK_DECIMAL_AS(#member, type, member, precision, scale)
#define PENSTOCK_DECIMAL_AS(name, type, member, precision, scale) \
    { PENSTOCK_PLACED(name, type, member), .format = PENSTOCK_DIGITS(PENSTOCK_MEMBER(type, member), precision, scale) }
#define PENSTOCK_DIGITS(x, precision, scale) \
    (PENSTOCK_KIND(x) == PENSTOCK_KIND_decimal256 ? "d:" #precision "," #scale ",256" : "d:" #precision "," #scale)
/* A list, whose items are as PENSTOCK_ITEM or another one of its kind says: PENSTOCK_LIST(Row, stops, STOPS). */
#define PENSTOCK_LIST(type, member, items) PENSTOCK_LIST_AS(#member, type, member, items)
#define PENSTOCK_LIST_AS(name, type, member, items) \
    { PENSTOCK_PLACED(name, type, member), .item = &items##_item, .item_size = items##_size }
#define PENSTOCK_ITEM_OF(items, type, ...) \
    enum { items##_size = sizeof(type) }; \
    static const penstock_column items##_item = { .name = "item", .file = __FILE__, .line = __LINE__, __VA_ARGS__ };
#define PENSTOCK_ITEM_PLACED(type) \
    .kind = PENSTOCK_KIND(*(type *)0), .nullable = PENSTOCK_NULLABLE(*(type *)0), .value = PENSTOCK_VALUE_AT(*(type *)0)
/* Items of any type that PENSTOCK_COLUMN takes: PENSTOCK_ITEM(STOPS, int64_t). */
#define PENSTOCK_ITEM(items, type) PENSTOCK_ITEM_OF(items, type, PENSTOCK_ITEM_PLACED(type))
/* Items that are decimals, timestamps in a zone, or bytes of a fixed length (typedef uint8_t Id[16], or
 * struct { bool has; uint8_t value[16]; }). */
#define PENSTOCK_ITEM_DECIMAL(items, type, precision, scale) \
    PENSTOCK_ITEM_OF(items, type, PENSTOCK_ITEM_PLACED(type), .format = PENSTOCK_DIGITS(*(type *)0, precision, scale))
#define PENSTOCK_ITEM_ZONED(items, type, in_zone) PENSTOCK_ITEM_OF(items, type, PENSTOCK_ITEM_PLACED(type), .zone = in_zone)
#define PENSTOCK_ITEM_FIXED(items, type) PENSTOCK_ITEM_OF(items, type, .kind = PENSTOCK_KIND_fixed, .size = sizeof(type))
#define PENSTOCK_ITEM_FIXED_OPT(items, opt) \
    PENSTOCK_ITEM_OF(items, opt, .kind = PENSTOCK_KIND_fixed, .nullable = true, .has = offsetof(opt, has), \
        .value = offsetof(opt, value), .size = sizeof(PENSTOCK_MEMBER(opt, value)))
/* Items that are lists themselves (penstock_list or penstock_opt_list), of `inner`. */
#define PENSTOCK_ITEM_LIST(items, type, inner) \
    PENSTOCK_ITEM_OF(items, type, PENSTOCK_ITEM_PLACED(type), .item = &inner##_item, .item_size = inner##_size)
/* Items that are structs, none of them null. */
#define PENSTOCK_ITEM_STRUCT(items, type, table) \
    PENSTOCK_ITEM_OF(items, type, .kind = PENSTOCK_KIND_struct, .record = PENSTOCK_RECORD(type, table))
/* Items that are `struct { bool has; type value; }`. */
#define PENSTOCK_ITEM_STRUCT_OPT(items, opt, type, table) \
    PENSTOCK_ITEM_OF(items, opt, .kind = PENSTOCK_KIND_struct, .nullable = true, .has = offsetof(opt, has), \
        .value = offsetof(opt, value), .record = PENSTOCK_RECORD(type, table))
/* A struct in the struct, whose own columns are in `table`. */
#define PENSTOCK_STRUCT(type, member, inner, table) PENSTOCK_STRUCT_AS(#member, type, member, inner, table)
#define PENSTOCK_STRUCT_AS(called, type, member, inner, table) \
    { .name = called, .file = __FILE__, .line = __LINE__, .kind = PENSTOCK_KIND_struct, \
      .value = offsetof(type, member), .record = PENSTOCK_RECORD(inner, table) }
/* The same, in a member that is `struct { bool has; inner value; }`. */
#define PENSTOCK_STRUCT_OPT(type, member, inner, table) PENSTOCK_STRUCT_OPT_AS(#member, type, member, inner, table)
#define PENSTOCK_STRUCT_OPT_AS(called, type, member, inner, table) \
    { .name = called, .file = __FILE__, .line = __LINE__, .kind = PENSTOCK_KIND_struct, .nullable = true, \
      .has = offsetof(type, member.has), .value = offsetof(type, member.value), .record = PENSTOCK_RECORD(inner, table) }
/* Bytes of a fixed length: uint8_t id[16]; */
#define PENSTOCK_FIXED(type, member) PENSTOCK_FIXED_AS(#member, type, member)
#define PENSTOCK_FIXED_AS(called, type, member) \
    { .name = called, .file = __FILE__, .line = __LINE__, .kind = PENSTOCK_KIND_fixed, \
      .value = offsetof(type, member), .size = sizeof(PENSTOCK_MEMBER(type, member)) }
/* The same, in a member that is `struct { bool has; uint8_t value[16]; }`. */
#define PENSTOCK_FIXED_OPT(type, member) PENSTOCK_FIXED_OPT_AS(#member, type, member)
#define PENSTOCK_FIXED_OPT_AS(called, type, member) \
    { .name = called, .file = __FILE__, .line = __LINE__, .kind = PENSTOCK_KIND_fixed, .nullable = true, \
      .has = offsetof(type, member.has), .value = offsetof(type, member.value), .size = sizeof(PENSTOCK_MEMBER(type, member.value)) }

/* A struct and the table of its columns. */
#define PENSTOCK_RECORD(type, table) { (table), sizeof(table) / sizeof((table)[0]), sizeof(type) }

#endif

/* ---- What a transform may say -------------------------------------------------------------------------------- */

/* Text of a literal or another text that ends with a zero. */
PENSTOCK_INTERNAL inline penstock_text penstock_text_of(const char *text) {
    penstock_text made = { text, strlen(text) };
    return made;
}

PENSTOCK_INTERNAL inline bool penstock_text_is(penstock_text text, const char *other) {
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

/* What becomes of a row: PENSTOCK_TAKEN, penstock_refuse(…) or penstock_fail(…). */
typedef struct {
    const char *code; /* None: the row is taken. */
    penstock_text detail;
    bool fails;
} penstock_reject;

#ifdef __cplusplus
#define PENSTOCK_TAKEN (penstock_reject{})
#else
#define PENSTOCK_TAKEN ((penstock_reject){0})
#endif

/* Refuses the row. The code is short and stable, "negative-fare"; the detail is for a person. The row leaves no
 * trace: the SDK gives the state its old members back. (What a list or a text pointed to must not be overwritten.) */
PENSTOCK_INTERNAL penstock_reject penstock_refuse(const char *code, penstock_text detail) {
    penstock_reject reject = { code, detail, false };
    return reject;
}

/* Fails the whole call, and with it the run. */
PENSTOCK_INTERNAL penstock_reject penstock_fail(const char *why) {
    penstock_reject reject = { "failed", penstock_text_of(why), true };
    return reject;
}

typedef enum { PENSTOCK_DEBUG, PENSTOCK_INFO, PENSTOCK_WARN, PENSTOCK_ERROR } penstock_level;

#if defined(__wasm__)
#define PENSTOCK_IMPORT(module, name) __attribute__((import_module("penstock:transform/" module "@0.1.0"), import_name(name)))
PENSTOCK_IMPORT("log", "write") void penstock_import_log(uint32_t level, const char *text, size_t length);
PENSTOCK_IMPORT("metrics", "count") void penstock_import_count(const char *name, size_t length, uint64_t amount);
PENSTOCK_IMPORT("metrics", "observe") void penstock_import_observe(const char *name, size_t length, double value);
#endif

/* Writes a line for the operator. Natively it goes to stderr. */
PENSTOCK_INTERNAL void penstock_log(penstock_level level, penstock_text line) {
#if defined(__wasm__)
    penstock_import_log((uint32_t)level, line.data, line.length);
#else
    (void)level;
    fprintf(stderr, "%.*s\n", (int)line.length, line.data);
#endif
}

/* Adds to a counter. */
PENSTOCK_INTERNAL void penstock_count(const char *name, uint64_t amount) {
#if defined(__wasm__)
    penstock_import_count(name, strlen(name), amount);
#else
    (void)name, (void)amount;
#endif
}

/* Adds a value to a histogram. */
PENSTOCK_INTERNAL void penstock_observe(const char *name, double value) {
#if defined(__wasm__)
    penstock_import_observe(name, strlen(name), value);
#else
    (void)name, (void)value;
#endif
}

/* ---- Memory --------------------------------------------------------------------------------------------------- */

/* What a call needs comes from blocks that are given back, all at once, when the host has read the result. */
typedef struct penstock_block {
    struct penstock_block *before;
    size_t size;
    size_t used;
} penstock_block;

PENSTOCK_SHARED penstock_block *penstock_blocks;

/* Memory that lives until the call ends; aligned for everything. */
PENSTOCK_INTERNAL void *penstock_allocate(size_t bytes) {
    const size_t head = (sizeof(penstock_block) + 15) & ~(size_t)15;
    bytes = (bytes + 15) & ~(size_t)15;
    penstock_block *block = penstock_blocks;
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > 65536 ? bytes : 65536;
        if (block && block->size > size) size = block->size < ((size_t)1 << 24) ? block->size : size;
        block = (penstock_block *)malloc(head + size);
        if (!block) {
            penstock_log(PENSTOCK_ERROR, penstock_text_of("penstock.h: there is no memory left"));
            abort();
        }
        block->before = penstock_blocks;
        block->size = size;
        block->used = 0;
        penstock_blocks = block;
    }
    void *memory = (char *)block + head + block->used;
    block->used += bytes;
    return memory;
}

/* Gives everything back, and keeps a block as large as all of them for the next call. */
PENSTOCK_INTERNAL void penstock_end_call(void) {
    penstock_block *block = penstock_blocks;
    if (!block) return;
    if (!block->before) {
        block->used = 0;
        return;
    }
    size_t all = 0;
    while (block) {
        penstock_block *before = block->before;
        all += block->size;
        free(block);
        block = before;
    }
    penstock_blocks = NULL;
    penstock_allocate(all);
    penstock_blocks->used = 0;
}

PENSTOCK_INTERNAL void *penstock_allocate_zeros(size_t bytes) { return memset(penstock_allocate(bytes), 0, bytes); }

/* Several texts as one: penstock_join(a, b, c). It lives until the call ends. */
PENSTOCK_INTERNAL penstock_text penstock_join_all(const penstock_text *parts, size_t count) {
    size_t length = 0;
    for (size_t part = 0; part < count; part++) length += parts[part].length;
    char *joined = (char *)penstock_allocate(length + 1), *at = joined;
    for (size_t part = 0; part < count; part++) {
        if (parts[part].length) memcpy(at, parts[part].data, parts[part].length);
        at += parts[part].length;
    }
    *at = 0;
    penstock_text text = { joined, length };
    return text;
}
#ifndef __cplusplus
#define penstock_join(...) \
    penstock_join_all((const penstock_text[]){__VA_ARGS__}, sizeof((const penstock_text[]){__VA_ARGS__}) / sizeof(penstock_text))
#endif

/* A whole number as text. */
PENSTOCK_INTERNAL penstock_text penstock_text_of_int(int64_t number) {
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) *--at = '-';
    penstock_text text = { at, (size_t)(digits + sizeof digits - at) };
    return penstock_join_all(&text, 1);
}

/* ---- Columns as the host sends them --------------------------------------------------------------------------- */

typedef struct { const uint8_t *data; size_t length; } penstock_buffer;
typedef struct { uint32_t rows; const penstock_buffer *buffers; size_t count; } penstock_columns;

/* A column of a batch. The columnar form reads it. */
typedef struct penstock_view penstock_view;
struct penstock_view {
    const penstock_column *column;
    size_t length;
    const uint8_t *validity; /* None: there are no nulls. */
    const uint8_t *values;   /* Values of fixed width behind each other (bool: bits), or the bytes of texts. */
    const void *offsets;     /* Of texts, bytes and lists. */
    bool large;              /* Offsets of 64 bits. */
    uint32_t span;           /* This view and those of all that is in it. */
};

/* Where the buffers of each column lie, in the order of views. */
typedef struct { uint32_t first; bool large; } penstock_slot;

PENSTOCK_INTERNAL inline bool penstock_is_null(const penstock_view *view, size_t row) {
    return view->validity && !(view->validity[row >> 3] >> (row & 7) & 1);
}
PENSTOCK_INTERNAL inline bool penstock_bit(const penstock_view *view, size_t row) {
    return view->values[row >> 3] >> (row & 7) & 1;
}
PENSTOCK_INTERNAL inline size_t penstock_offset(const penstock_view *view, size_t at) {
    return view->large ? (size_t)((const int64_t *)view->offsets)[at] : (size_t)((const int32_t *)view->offsets)[at];
}
PENSTOCK_INTERNAL inline penstock_text penstock_text_at(const penstock_view *view, size_t row) {
    size_t start = penstock_offset(view, row);
    penstock_text text = { (const char *)view->values + start, penstock_offset(view, row + 1) - start };
    return text;
}
/* The values of a column of fixed width: const int64_t *amounts = penstock_values(view); */
PENSTOCK_INTERNAL inline const void *penstock_values(const penstock_view *view) { return view->values; }

PENSTOCK_INTERNAL const uint8_t PENSTOCK_WIDTHS[] = {
#define PENSTOCK_WIDTH_OF(name, type, format, width, called) width,
    PENSTOCK_SCALARS(PENSTOCK_WIDTH_OF) 0, 0, 16, 32, 0, 0, 0
};

PENSTOCK_INTERNAL uint32_t penstock_width(const penstock_column *column) {
    return column->kind == PENSTOCK_KIND_fixed ? column->size : PENSTOCK_WIDTHS[column->kind];
}

/* How many views a column has, with all that is in it. */
PENSTOCK_INTERNAL uint32_t penstock_span_of(const penstock_column *column) {
    uint32_t span = 1;
    if (column->item) span += penstock_span_of(column->item);
    for (uint32_t at = 0; at < column->record.count; at++) span += penstock_span_of(&column->record.columns[at]);
    return span;
}
PENSTOCK_INTERNAL uint32_t penstock_span_of_record(const penstock_record *record) {
    uint32_t span = 0;
    for (uint32_t at = 0; at < record->count; at++) span += penstock_span_of(&record->columns[at]);
    return span;
}

/* Finds the buffers of a column. The host has checked all lengths. */
PENSTOCK_INTERNAL uint32_t penstock_bind_column(
    const penstock_column *column, const penstock_slot *slots, const penstock_columns *from, size_t length, penstock_view *view) {
    const penstock_buffer *buffers = from->buffers + slots->first;
    uint32_t span = 1;
    memset(view, 0, sizeof *view);
    view->column = column;
    view->length = length;
    view->large = slots->large;
    view->validity = buffers[0].length ? buffers[0].data : NULL;
    switch (column->kind) {
    case PENSTOCK_KIND_struct:
        for (uint32_t at = 0; at < column->record.count; at++)
            span += penstock_bind_column(&column->record.columns[at], slots + span, from, length, view + span);
        break;
    case PENSTOCK_KIND_list:
        view->offsets = buffers[1].data;
        span += penstock_bind_column(column->item, slots + 1, from, penstock_offset(view, length), view + 1);
        break;
    case PENSTOCK_KIND_text:
    case PENSTOCK_KIND_bytes:
        view->offsets = buffers[1].data;
        view->values = buffers[2].data;
        break;
    default: view->values = buffers[1].data;
    }
    view->span = span;
    return span;
}

PENSTOCK_INTERNAL penstock_view *penstock_bind(const penstock_record *record, const penstock_slot *slots, const penstock_columns *from) {
    penstock_view *views = (penstock_view *)penstock_allocate(sizeof(penstock_view) * (penstock_span_of_record(record) + 1));
    uint32_t span = 0;
    for (uint32_t at = 0; at < record->count; at++)
        span += penstock_bind_column(&record->columns[at], slots + span, from, from->rows, views + span);
    return views;
}

/* ---- Columns into structs ------------------------------------------------------------------------------------- */

#define PENSTOCK_COPY_EACH(type) \
    for (size_t row = 0; row < count; row++) \
        memcpy(to + row * stride + column->value, view->values + (from + row) * sizeof(type), sizeof(type))

/* Reads `count` values from the row `from` on into structs that are `stride` bytes apart. */
PENSTOCK_INTERNAL void penstock_read_column(const penstock_view *view, size_t from, size_t count, char *to, size_t stride) {
    const penstock_column *column = view->column;
    const uint32_t width = penstock_width(column);
    if (column->nullable)
        for (size_t row = 0; row < count; row++) *(bool *)(to + row * stride + column->has) = !penstock_is_null(view, from + row);
    switch (column->kind) {
    case PENSTOCK_KIND_bool:
        for (size_t row = 0; row < count; row++) *(bool *)(to + row * stride + column->value) = penstock_bit(view, from + row);
        break;
    case PENSTOCK_KIND_text:
    case PENSTOCK_KIND_bytes:
        for (size_t row = 0; row < count; row++) {
            penstock_text text = penstock_text_at(view, from + row);
            memcpy(to + row * stride + column->value, &text, sizeof text);
        }
        break;
    case PENSTOCK_KIND_struct: {
        const penstock_view *inner = view + 1;
        for (uint32_t at = 0; at < column->record.count; at++, inner += inner->span)
            penstock_read_column(inner, from, count, to + column->value, stride);
        break;
    }
    case PENSTOCK_KIND_list: {
        size_t first = penstock_offset(view, from), items = penstock_offset(view, from + count) - first;
        char *made = (char *)penstock_allocate_zeros(items * column->item_size);
        penstock_read_column(view + 1, first, items, made, column->item_size);
        for (size_t row = 0; row < count; row++) {
            size_t start = penstock_offset(view, from + row);
            penstock_list list = { made + (start - first) * column->item_size, penstock_offset(view, from + row + 1) - start };
            memcpy(to + row * stride + column->value, &list, sizeof list);
        }
        break;
    }
    default:
        switch (width) {
        case 1: PENSTOCK_COPY_EACH(uint8_t); break;
        case 2: PENSTOCK_COPY_EACH(uint16_t); break;
        case 4: PENSTOCK_COPY_EACH(uint32_t); break;
        case 8: PENSTOCK_COPY_EACH(uint64_t); break;
        default:
            for (size_t row = 0; row < count; row++)
                memcpy(to + row * stride + column->value, view->values + (from + row) * width, width);
        }
    }
}

PENSTOCK_INTERNAL void penstock_read(const penstock_record *record, const penstock_view *views, size_t from, size_t count, void *to) {
    for (uint32_t at = 0; at < record->count; at++, views += views->span)
        penstock_read_column(views, from, count, (char *)to, record->size);
}

/* Whether there are nulls where the structs take none. */
PENSTOCK_INTERNAL bool penstock_has_nulls(const penstock_view *views, uint32_t count) {
    for (uint32_t at = 0; at < count; at++)
        if (!views[at].column->nullable && views[at].validity) return true;
    return false;
}

/* The path of something in a row that is null and may not be; no text if there is none. */
PENSTOCK_INTERNAL penstock_text penstock_null_in(const penstock_view *view, size_t row) {
    const penstock_column *column = view->column;
    penstock_text found = { NULL, 0 };
    if (penstock_is_null(view, row)) return column->nullable ? found : penstock_text_of(column->name);
    if (column->kind == PENSTOCK_KIND_struct && column->record.count) {
        const penstock_view *inner = view + 1;
        for (uint32_t at = 0; at < column->record.count && !found.data; at++, inner += inner->span) found = penstock_null_in(inner, row);
    }
    if (column->kind == PENSTOCK_KIND_list && penstock_has_nulls(view + 1, view->span - 1))
        for (size_t item = penstock_offset(view, row); item < penstock_offset(view, row + 1) && !found.data; item++)
            found = penstock_null_in(view + 1, item);
    if (!found.data) return found;
    penstock_text parts[3] = { penstock_text_of(column->name), penstock_text_of("."), found };
    return penstock_join_all(parts, 3);
}

/* The same of a whole record. */
PENSTOCK_INTERNAL penstock_text penstock_null_in_record(const penstock_record *record, const penstock_view *views, size_t row) {
    penstock_text found = { NULL, 0 };
    for (uint32_t at = 0; at < record->count && !found.data; at++, views += views->span) found = penstock_null_in(views, row);
    return found;
}

PENSTOCK_INTERNAL penstock_reject penstock_null_in_row(const penstock_record *record, const penstock_view *views, size_t row) {
    penstock_reject taken = PENSTOCK_ZERO;
    const penstock_text path = penstock_null_in_record(record, views, row);
    if (!path.data) return taken;
    penstock_text parts[3] = { penstock_text_of("column `"), path, penstock_text_of("` is null") };
    return penstock_refuse("null", penstock_join_all(parts, 3));
}

/* ---- Structs into columns ------------------------------------------------------------------------------------- */

/* Buffers of a result, as they are made. */
typedef struct { penstock_buffer *buffers; size_t count; } penstock_made;

PENSTOCK_INTERNAL uint8_t *penstock_make(penstock_made *made, size_t length) {
    uint8_t *data = (uint8_t *)penstock_allocate(length);
    made->buffers[made->count].data = data;
    made->buffers[made->count++].length = length;
    return data;
}

/* Writes a column of the structs that `rows` points to; none: there is a null above, and zeros are written. */
PENSTOCK_INTERNAL void penstock_write_column(const penstock_column *column, const char *const *rows, size_t count, penstock_made *made) {
    size_t nulls = 0;
    const char **values = (const char **)penstock_allocate(count * sizeof *values);
    for (size_t row = 0; row < count; row++) {
        bool has = rows[row] && (!column->nullable || *(const bool *)(rows[row] + column->has));
        values[row] = has ? rows[row] + column->value : NULL;
        nulls += !has;
    }
    if (column->nullable && nulls) {
        size_t bytes = (count + 7) / 8;
        uint8_t *bits = (uint8_t *)memset(penstock_make(made, bytes), 0, bytes);
        for (size_t row = 0; row < count; row++) bits[row >> 3] |= (uint8_t)((values[row] != NULL) << (row & 7));
    } else {
        penstock_make(made, 0);
    }
    const uint32_t width = penstock_width(column);
    switch (column->kind) {
    case PENSTOCK_KIND_bool: {
        size_t bytes = (count + 7) / 8;
        uint8_t *bits = (uint8_t *)memset(penstock_make(made, bytes), 0, bytes);
        for (size_t row = 0; row < count; row++)
            if (values[row]) bits[row >> 3] |= (uint8_t)(*(const bool *)values[row] << (row & 7));
        break;
    }
    case PENSTOCK_KIND_text:
    case PENSTOCK_KIND_bytes: {
        int32_t *offsets = (int32_t *)penstock_make(made, (count + 1) * 4);
        size_t length = 0;
        offsets[0] = 0;
        for (size_t row = 0; row < count; row++) {
            if (values[row]) length += ((const penstock_text *)values[row])->length;
            offsets[row + 1] = (int32_t)length;
        }
        uint8_t *bytes = penstock_make(made, length);
        for (size_t row = 0; row < count; row++) {
            if (!values[row]) continue;
            const penstock_text *text = (const penstock_text *)values[row];
            if (text->length) memcpy(bytes + offsets[row], text->data, text->length);
        }
        break;
    }
    case PENSTOCK_KIND_struct:
        for (uint32_t at = 0; at < column->record.count; at++)
            penstock_write_column(&column->record.columns[at], values, count, made);
        break;
    case PENSTOCK_KIND_list: {
        int32_t *offsets = (int32_t *)penstock_make(made, (count + 1) * 4);
        size_t length = 0;
        offsets[0] = 0;
        for (size_t row = 0; row < count; row++) {
            if (values[row]) length += ((const penstock_list *)values[row])->length;
            offsets[row + 1] = (int32_t)length;
        }
        const char **items = (const char **)penstock_allocate(length * sizeof *items);
        size_t next = 0;
        for (size_t row = 0; row < count; row++) {
            if (!values[row]) continue;
            const penstock_list *list = (const penstock_list *)values[row];
            for (size_t item = 0; item < list->length; item++) items[next++] = (const char *)list->items + item * column->item_size;
        }
        penstock_write_column(column->item, items, length, made);
        break;
    }
    default: {
        uint8_t *data = penstock_make(made, count * width);
        switch (width) {
#define PENSTOCK_PUT_EACH(type) \
    for (size_t row = 0; row < count; row++) { \
        type value = 0; \
        if (values[row]) memcpy(&value, values[row], sizeof value); \
        memcpy(data + row * sizeof value, &value, sizeof value); \
    }
        case 1: PENSTOCK_PUT_EACH(uint8_t); break;
        case 2: PENSTOCK_PUT_EACH(uint16_t); break;
        case 4: PENSTOCK_PUT_EACH(uint32_t); break;
        case 8: PENSTOCK_PUT_EACH(uint64_t); break;
        default:
            for (size_t row = 0; row < count; row++) {
                if (values[row]) memcpy(data + row * width, values[row], width);
                else memset(data + row * width, 0, width);
            }
        }
    }
    }
}

/* Columns of the structs that `rows` points to. */
PENSTOCK_INTERNAL penstock_columns penstock_write(const penstock_record *record, const char *const *rows, size_t count) {
    penstock_made made = { (penstock_buffer *)penstock_allocate(3 * sizeof(penstock_buffer) * penstock_span_of_record(record)), 0 };
    for (uint32_t at = 0; at < record->count; at++) penstock_write_column(&record->columns[at], rows, count, &made);
    penstock_columns columns = { (uint32_t)count, made.buffers, made.count };
    return columns;
}

/* Columns of structs that lie behind each other; with `keep`, of those that it numbers. */
PENSTOCK_INTERNAL penstock_columns penstock_write_all(const penstock_record *record, const void *structs, size_t count, const uint32_t *keep) {
    const char **rows = (const char **)penstock_allocate(count * sizeof *rows);
    for (size_t row = 0; row < count; row++) rows[row] = (const char *)structs + (keep ? keep[row] : row) * (size_t)record->size;
    return penstock_write(record, rows, count);
}

/* ---- A transform ---------------------------------------------------------------------------------------------- */

/* The window of an output, in microseconds since 1970-01-01T00:00:00Z: `start` is inside it, `end` is not. */
typedef struct { int64_t start; int64_t end; } penstock_bounds;

/* Rows that a transform gives. */
typedef struct {
    const penstock_record *record;
    char *rows;
    uint32_t *sources;
    size_t count;
    size_t room;
    uint32_t source;
} penstock_output;

/* Gives a row; `row` points to a struct of the transform's output. `source` is the input row or the group it is of. */
PENSTOCK_INTERNAL void penstock_emit_from(penstock_output *output, size_t source, const void *row) {
    if (output->count == output->room) {
        size_t room = output->room ? output->room * 2 : 64;
        char *rows = (char *)penstock_allocate(room * output->record->size);
        uint32_t *sources = (uint32_t *)penstock_allocate(room * sizeof *sources);
        if (output->count) {
            memcpy(rows, output->rows, output->count * output->record->size);
            memcpy(sources, output->sources, output->count * sizeof *sources);
        }
        output->rows = rows, output->sources = sources, output->room = room;
    }
    memcpy(output->rows + output->count * output->record->size, row, output->record->size);
    output->sources[output->count++] = (uint32_t)source;
}

/* Gives a row of what is being looked at. */
PENSTOCK_INTERNAL void penstock_emit(penstock_output *output, const void *row) { penstock_emit_from(output, output->source, row); }

typedef struct { uint32_t row; penstock_text code; penstock_text detail; } penstock_rejected;

/* Rows that a columnar transform refuses. */
typedef struct { penstock_rejected *rows; size_t count; size_t room; } penstock_rejects;

/* Refuses a row; rows in rising order, each once. It must not change any state. */
PENSTOCK_INTERNAL void penstock_refuse_row(penstock_rejects *rejects, size_t row, penstock_reject reject) {
    if (rejects->count == rejects->room) {
        size_t room = rejects->room ? rejects->room * 2 : 64;
        penstock_rejected *rows = (penstock_rejected *)penstock_allocate(room * sizeof *rows);
        if (rejects->count) memcpy(rows, rejects->rows, rejects->count * sizeof *rows);
        rejects->rows = rows, rejects->room = room;
    }
    penstock_rejected rejected = { (uint32_t)row, penstock_text_of(reject.code), reject.detail };
    rejects->rows[rejects->count++] = rejected;
}

/* A batch for the columnar form. */
typedef struct {
    size_t rows;
    const uint32_t *groups; /* The group of each row; each is below group_count. */
    size_t group_count;
    const penstock_view *views;     /* Of the row's columns. */
    const penstock_view *key_views; /* Of the key's columns, with a row for each group. */
    const penstock_record *record;
} penstock_batch;

/* The batch's column of this number in the row's table. */
PENSTOCK_INTERNAL const penstock_view *penstock_column_at(const penstock_batch *batch, uint32_t number) {
    const penstock_view *view = batch->views;
    while (number--) view += view->span;
    return view;
}

/* The reject for a row with a null where the struct takes none; PENSTOCK_TAKEN if it has none. */
PENSTOCK_INTERNAL penstock_reject penstock_null_at(const penstock_batch *batch, size_t row) {
    return penstock_null_in_row(batch->record, batch->views, row);
}
/* Whether there may be such rows. */
PENSTOCK_INTERNAL bool penstock_batch_has_nulls(const penstock_batch *batch) {
    return penstock_has_nulls(batch->views, penstock_span_of_record(batch->record));
}

/* Takes over states of an older version: `old` is the struct of that version, of which only what is needed must be there. */
typedef struct {
    uint32_t version;
    penstock_record old;
    void (*migrate)(const void *old, void *state); /* `state` begins as the initial one. */
} penstock_migration;

/* A keyed aggregation over windows of time. */
typedef struct {
    penstock_record row;
    penstock_record key; /* Only the columns that are looked at; may be left out. */
    penstock_record state;
    penstock_record output;
    uint32_t state_version; /* 1 if left out. */
    const void *initial;    /* What a group starts from; zeros and nulls if left out. */
    /* Reads the configuration (JSON); says what is wrong with it, or NULL. If left out, there is none. */
    const char *(*open)(penstock_text config);
    /* Adds a row to a state. */
    penstock_reject (*accumulate)(const void *key, void *state, const void *row);
    /* The same for a batch, in place of it: `states` are structs, one for each group. Gives what failed, or NULL. */
    const char *(*accumulate_columns)(const penstock_batch *batch, void *states, penstock_rejects *rejects);
    /* Adds the state of a later slice of time to that of an earlier one. Associative. */
    void (*merge)(void *earlier, const void *later);
    /* Gives the rows of a window that has closed, with penstock_emit. */
    void (*finish)(const void *key, const void *state, penstock_bounds bounds, penstock_output *output);
    const penstock_migration *migrations;
    uint32_t migration_count;
} penstock_window;

/* Rows in, rows out. */
typedef struct {
    penstock_record row;
    penstock_record output;
    const char *(*open)(penstock_text config);
    /* Gives the rows that become of one, with penstock_emit: none, one or several. */
    penstock_reject (*map)(const void *row, penstock_output *output);
    /* The same for a batch, in place of it, with penstock_emit_from in the order of rows. */
    const char *(*map_columns)(const penstock_batch *batch, penstock_output *output, penstock_rejects *rejects);
} penstock_mapper;

/* ---- Schemas --------------------------------------------------------------------------------------------------- */

/* A field as it crosses: the layout is the canonical ABI's. */
typedef struct {
    penstock_text name;
    penstock_text format;
    bool nullable;
    uint32_t children;
    const void *metadata;
    size_t metadata_count;
} penstock_field;

typedef struct { penstock_field *fields; size_t count; } penstock_schema;

PENSTOCK_INTERNAL const char *const PENSTOCK_FORMATS[] = {
#define PENSTOCK_FORMAT_OF(name, type, format, width, called) format,
    PENSTOCK_SCALARS(PENSTOCK_FORMAT_OF) "u", "z", "", "", "w:", "+l", "+s"
};

PENSTOCK_INTERNAL penstock_text penstock_format(const penstock_column *column) {
    penstock_text format = penstock_text_of(column->format ? column->format : PENSTOCK_FORMATS[column->kind]);
    if (column->kind == PENSTOCK_KIND_fixed) {
        penstock_text parts[2] = { format, penstock_text_of_int(column->size) };
        return penstock_join_all(parts, 2);
    }
    if (column->zone) {
        penstock_text parts[2] = { { format.data, 4 }, penstock_text_of(column->zone) };
        return penstock_join_all(parts, 2);
    }
    return format;
}

PENSTOCK_INTERNAL void penstock_describe_column(const penstock_column *column, const char *name, penstock_schema *schema) {
    penstock_field *field = &schema->fields[schema->count++];
    memset(field, 0, sizeof *field);
    field->name = penstock_text_of(name);
    field->format = penstock_format(column);
    field->nullable = column->nullable;
    field->children = column->item ? 1 : column->record.count;
    if (column->item) penstock_describe_column(column->item, "item", schema);
    for (uint32_t at = 0; at < column->record.count; at++)
        penstock_describe_column(&column->record.columns[at], column->record.columns[at].name, schema);
}

PENSTOCK_INTERNAL penstock_schema penstock_describe(const penstock_record *record) {
    penstock_schema schema = { (penstock_field *)penstock_allocate(sizeof(penstock_field) * (penstock_span_of_record(record) + 1)), 0 };
    for (uint32_t at = 0; at < record->count; at++)
        penstock_describe_column(&record->columns[at], record->columns[at].name, &schema);
    return schema;
}

PENSTOCK_INTERNAL bool penstock_same(penstock_text a, penstock_text b) {
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}
PENSTOCK_INTERNAL bool penstock_begins(penstock_text text, const char *with) {
    size_t length = strlen(with);
    return text.length >= length && memcmp(text.data, with, length) == 0;
}

PENSTOCK_INTERNAL uint32_t penstock_buffers_of(penstock_text format) {
    if (format.length == 1 && strchr("uzUZ", format.data[0])) return 3;
    return penstock_text_is(format, "+s") ? 1 : 2;
}

/* Whether a column of the format `found` can be read as one of the format `wanted`. */
PENSTOCK_INTERNAL bool penstock_fits(penstock_text wanted, penstock_text found) {
    if (penstock_begins(wanted, "ts") && penstock_begins(found, "ts") && wanted.length > 3 && found.length > 3)
        return wanted.data[2] == found.data[2] && (wanted.length == 4) == (found.length == 4);
    return penstock_same(wanted, found) || (penstock_text_is(wanted, "u") && penstock_text_is(found, "U"))
        || (penstock_text_is(wanted, "z") && penstock_text_is(found, "Z"))
        || (penstock_text_is(wanted, "+l") && penstock_text_is(found, "+L"));
}

/* What is wrong with the tables of columns; no text if they are fine. */
PENSTOCK_INTERNAL penstock_text penstock_wrong_table(const penstock_column *columns, uint32_t count) {
    penstock_text wrong = { NULL, 0 };
    for (uint32_t at = 0; at < count && !wrong.data; at++) {
        const penstock_column *column = &columns[at];
        const bool is_decimal = column->kind == PENSTOCK_KIND_decimal128 || column->kind == PENSTOCK_KIND_decimal256;
        const char *why = NULL;
        if (is_decimal && !(column->format && column->format[0]))
            why = " is a decimal without digits: declare it with PENSTOCK_DECIMAL, items with PENSTOCK_ITEM_DECIMAL (in C++ with .decimal(...))";
        else if (column->kind == PENSTOCK_KIND_list && !column->item)
            why = " is a list without items: declare it with PENSTOCK_LIST";
        else if (column->kind == PENSTOCK_KIND_fixed && !column->size)
            why = " has a fixed length of 0 bytes";
        else if (column->zone && !(column->kind >= PENSTOCK_KIND_timestamp_s && column->kind <= PENSTOCK_KIND_timestamp_ns))
            why = " is in a zone, and no penstock_timestamp_...";
        else if (column->format && !is_decimal)
            why = " has digits, and is no decimal";
        if (why) {
            penstock_text parts[] = { penstock_text_of(column->file), penstock_text_of(":"), penstock_text_of_int(column->line),
                penstock_text_of(": `"), penstock_text_of(column->name), penstock_text_of("`"), penstock_text_of(why) };
            return penstock_join_all(parts, sizeof parts / sizeof parts[0]);
        }
        wrong = column->item ? penstock_wrong_table(column->item, 1) : penstock_wrong_table(column->record.columns, column->record.count);
    }
    return wrong;
}

/* What people call a format: int64, utf8. */
PENSTOCK_INTERNAL penstock_text penstock_called(penstock_text format) {
    static const char *const names[][2] = {
#define PENSTOCK_NAME_OF(name, type, format, width, called) { format, called },
        PENSTOCK_SCALARS(PENSTOCK_NAME_OF) { "u", "utf8" }, { "z", "binary" }, { "U", "large_utf8" }, { "Z", "large_binary" },
        { "+l", "a list" }, { "+L", "a large list" }, { "+s", "a struct" }
    };
    for (size_t at = 0; at < sizeof names / sizeof names[0]; at++)
        if (penstock_text_is(format, names[at][0])) return penstock_text_of(names[at][1]);
    penstock_text parts[2] = { penstock_text_of("the format "), format };
    return penstock_join_all(parts, 2);
}

/* The member to declare for a format. */
PENSTOCK_INTERNAL const char *penstock_type_for(penstock_text format) {
    static const char *const types[][2] = {
#define PENSTOCK_TYPE_OF(name, type, format, width, called) { format, #type },
        PENSTOCK_SCALARS(PENSTOCK_TYPE_OF) { "u", "penstock_text" }, { "z", "penstock_bytes" }, { "U", "penstock_text" },
        { "Z", "penstock_bytes" }, { "+l", "penstock_list" }, { "+L", "penstock_list" }
    };
    for (size_t at = 0; at < sizeof types / sizeof types[0]; at++)
        if (penstock_text_is(format, types[at][0])) return types[at][1];
    return "a matching type";
}

/* After the field at `at` with all that is in it. */
PENSTOCK_INTERNAL size_t penstock_after(const penstock_schema *schema, size_t at, uint32_t *buffers) {
    *buffers += penstock_buffers_of(schema->fields[at].format);
    uint32_t children = schema->fields[at].children;
    for (at++; children--;) at = penstock_after(schema, at, buffers);
    return at;
}

typedef struct { penstock_slot *slots; uint32_t count; } penstock_layout;

/* Matches columns with fields by name, those with `first` on, of which there are `fields`, and notes where their buffers
 * are. Gives what does not fit, or no text. */
PENSTOCK_INTERNAL penstock_text penstock_match(
    const penstock_column *columns, uint32_t count, const penstock_schema *schema, size_t first, uint32_t fields, uint32_t buffer,
    const char *name, penstock_text whose, penstock_layout *layout) {
    const penstock_text none = { NULL, 0 };
    for (uint32_t at = 0; at < count; at++) {
        const penstock_column *column = &columns[at];
        penstock_text there = { "", 0 };
        size_t field = first;
        uint32_t found = buffer, left = fields;
        for (; left; left--) {
            const penstock_text its = schema->fields[field].name;
            if (name || penstock_text_is(its, column->name)) break;
            penstock_text parts[4] = { there, penstock_text_of(there.length ? ", `" : "`"), its, penstock_text_of("`") };
            there = penstock_join_all(parts, 4);
            field = penstock_after(schema, field, &found);
        }
        penstock_text wanted = penstock_format(column);
        if (!left) {
            penstock_text parts[] = { whose, penstock_text_of(" has no column `"), penstock_text_of(column->name),
                penstock_text_of("`, which "), penstock_text_of(column->file), penstock_text_of(":"), penstock_text_of_int(column->line),
                penstock_text_of(" expects as "), penstock_called(wanted), penstock_text_of("; there are: "),
                there.length ? there : penstock_text_of("none"),
                penstock_text_of(". If it has another name, use PENSTOCK_COLUMN_AS(\"that name\", ...)") };
            return penstock_join_all(parts, sizeof parts / sizeof parts[0]);
        }
        const penstock_field *its = &schema->fields[field];
        if (!penstock_fits(wanted, its->format)) {
            penstock_text parts[] = { whose, penstock_text_of(" has a column `"), its->name, penstock_text_of("` of type "),
                penstock_called(its->format), penstock_text_of(", but "), penstock_text_of(column->file), penstock_text_of(":"),
                penstock_text_of_int(column->line), penstock_text_of(" expects "), penstock_called(wanted),
                penstock_text_of(": declare the member as `"), penstock_text_of(penstock_type_for(its->format)),
                penstock_text_of("`, or have the pipeline hand over "), penstock_called(wanted) };
            return penstock_join_all(parts, sizeof parts / sizeof parts[0]);
        }
        penstock_slot slot = { found, its->format.length && strchr("UZ", its->format.data[0]) != NULL };
        slot.large |= penstock_text_is(its->format, "+L");
        layout->slots[layout->count++] = slot;
        found += penstock_buffers_of(its->format);
        penstock_text wrong = none;
        if (column->item) wrong = penstock_match(column->item, 1, schema, field + 1, its->children, found, "item", whose, layout);
        else if (column->record.count)
            wrong = penstock_match(column->record.columns, column->record.count, schema, field + 1, its->children, found, NULL, whose, layout);
        if (wrong.data) return wrong;
    }
    return none;
}

/* The layout of `record` among the columns of `schema`, in memory that stays. With `picked`, as if only the record's top-level
 * columns were sent, in its order. */
PENSTOCK_INTERNAL penstock_text penstock_lay_out(
    const penstock_record *record, const penstock_schema *schema, bool picked, penstock_text whose, penstock_layout *layout) {
    uint32_t roots = 0, ignored = 0;
    for (size_t at = 0; at < schema->count; roots++) at = penstock_after(schema, at, &ignored);
    layout->slots = (penstock_slot *)malloc(sizeof(penstock_slot) * (penstock_span_of_record(record) + 1));
    layout->count = 0;
    if (!picked) return penstock_match(record->columns, record->count, schema, 0, roots, 0, NULL, whose, layout);
    uint32_t next = 0;
    for (uint32_t column = 0; column < record->count; column++) {
        uint32_t first = layout->count;
        penstock_text wrong = penstock_match(&record->columns[column], 1, schema, 0, roots, 0, NULL, whose, layout);
        if (wrong.data) return wrong;
        /* Where the column's own buffers begin, and how many there are. */
        uint32_t begins = layout->slots[first].first, length = 0, before = 0;
        for (size_t at = 0; at < schema->count;) {
            uint32_t buffers = 0;
            at = penstock_after(schema, at, &buffers);
            if (before == begins) length = buffers;
            before += buffers;
        }
        for (uint32_t slot = first; slot < layout->count; slot++) layout->slots[slot].first += next - begins;
        next += length;
    }
    penstock_text none = { NULL, 0 };
    return none;
}

/* The layout of columns that a record made itself. */
PENSTOCK_INTERNAL void penstock_lay_out_own(const penstock_record *record, penstock_layout *layout) {
    penstock_schema schema = penstock_describe(record);
    penstock_lay_out(record, &schema, false, penstock_text_of("the record"), layout);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

typedef enum { PENSTOCK_BAD_CONFIG, PENSTOCK_BAD_INPUT, PENSTOCK_FAILED } penstock_failure;

/* How a call ended, if not well. */
typedef struct { bool failed; penstock_failure failure; penstock_text message; } penstock_ended;

typedef struct { penstock_text name; penstock_schema schema; } penstock_event;

/* What the host says when it opens a transform. */
typedef struct {
    penstock_text config;
    const penstock_event *events;
    size_t event_count;
    penstock_schema key;
} penstock_opening;

typedef struct { penstock_layout row, key, state; } penstock_opened;

PENSTOCK_INTERNAL penstock_ended penstock_ended_as(penstock_failure failure, penstock_text message) {
    penstock_ended ended = { true, failure, message };
    return ended;
}

PENSTOCK_INTERNAL bool penstock_config_is_empty(penstock_text config) {
    size_t letters = 0;
    for (size_t at = 0; at < config.length; at++) letters += !strchr(" \t\r\n{}", config.data[at]);
    return !letters;
}

/* Opens what windows and mappers have in common: `records` are all tables of the transform, that of its rows first. */
PENSTOCK_INTERNAL penstock_ended penstock_open_records(
    const penstock_opening *opening, const penstock_record *records, size_t count, const char *(*open)(penstock_text), penstock_layout *layout) {
    penstock_ended well = PENSTOCK_ZERO;
    for (size_t at = 0; at < count; at++) {
        penstock_text wrong = penstock_wrong_table(records[at].columns, records[at].count);
        if (wrong.data) return penstock_ended_as(PENSTOCK_BAD_INPUT, wrong);
    }
    if (!open && !penstock_config_is_empty(opening->config)) {
        penstock_text parts[] = { penstock_text_of("this transform takes no configuration, but was given "), opening->config,
            penstock_text_of(": remove `config` from the pipeline") };
        return penstock_ended_as(PENSTOCK_BAD_CONFIG, penstock_join_all(parts, 3));
    }
    const char *wrong = open ? open(opening->config) : NULL;
    if (wrong) return penstock_ended_as(PENSTOCK_BAD_CONFIG, penstock_text_of(wrong));
    if (opening->event_count != 1)
        return penstock_ended_as(PENSTOCK_BAD_INPUT, penstock_text_of("this transform takes one event, but the pipeline offers several"));
    penstock_text whose[] = { penstock_text_of("event `"), opening->events[0].name, penstock_text_of("`") };
    penstock_text misfit = penstock_lay_out(&records[0], &opening->events[0].schema, true, penstock_join_all(whose, 3), layout);
    return misfit.data ? penstock_ended_as(PENSTOCK_BAD_INPUT, misfit) : well;
}

PENSTOCK_INTERNAL penstock_ended penstock_open(const penstock_window *window, const penstock_opening *opening, penstock_opened *opened) {
    const penstock_record records[] = { window->row, window->key, window->state, window->output };
    penstock_ended ended = penstock_open_records(opening, records, 4, window->open, &opened->row);
    if (ended.failed) return ended;
    penstock_text misfit = penstock_lay_out(&window->key, &opening->key, false, penstock_text_of("the pipeline's key"), &opened->key);
    if (misfit.data) return penstock_ended_as(PENSTOCK_BAD_INPUT, misfit);
    for (uint32_t at = 0; at < window->output.count; at++) {
        const penstock_column *column = &window->output.columns[at];
        static const char *const reserved[] = { "window_start", "window_end", "revision", "withdrawn" };
        bool taken = false;
        for (size_t name = 0; name < 4; name++) taken |= strcmp(column->name, reserved[name]) == 0;
        for (size_t key = 0; key < opening->key.count; key++) taken |= penstock_text_is(opening->key.fields[key].name, column->name);
        if (!taken) continue;
        penstock_text parts[] = { penstock_text_of("the transform's output has a column `"), penstock_text_of(column->name),
            penstock_text_of("` ("), penstock_text_of(column->file), penstock_text_of(":"), penstock_text_of_int(column->line),
            penstock_text_of("), which the host adds itself: rename it, or remove it") };
        return penstock_ended_as(PENSTOCK_BAD_INPUT, penstock_join_all(parts, 7));
    }
    penstock_lay_out_own(&window->state, &opened->state);
    return ended;
}

PENSTOCK_INTERNAL penstock_ended penstock_open_mapping(const penstock_mapper *mapper, const penstock_opening *opening, penstock_layout *layout) {
    const penstock_record records[] = { mapper->row, mapper->output };
    return penstock_open_records(opening, records, 2, mapper->open, layout);
}

/* A state to start from, in memory of the call. */
PENSTOCK_INTERNAL void *penstock_initial(const penstock_window *window) {
    void *state = penstock_allocate_zeros(window->state.size);
    if (window->initial) memcpy(state, window->initial, window->state.size);
    return state;
}

/* All rows of columns as structs. */
PENSTOCK_INTERNAL void *penstock_read_all(const penstock_record *record, const penstock_layout *layout, const penstock_columns *columns) {
    void *structs = penstock_allocate_zeros((size_t)columns->rows * record->size);
    penstock_read(record, penstock_bind(record, layout->slots, columns), 0, columns->rows, structs);
    return structs;
}

typedef struct {
    penstock_columns states;
    const uint32_t *changed; /* None: all. */
    size_t changed_count;
    penstock_rejects rejects;
} penstock_updated;

/* Rows are read this many at a time, so that they stay in the cache. */
#define PENSTOCK_AT_ONCE 512

/* Copies a state. Of a constant length a copy is a few instructions; of any other it is a call, for each row. */
PENSTOCK_INTERNAL inline void penstock_copy_state(void *to, const void *from, size_t size) {
    switch (size) {
    case 8: memcpy(to, from, 8); break;
    case 16: memcpy(to, from, 16); break;
    case 24: memcpy(to, from, 24); break;
    case 32: memcpy(to, from, 32); break;
    case 40: memcpy(to, from, 40); break;
    case 48: memcpy(to, from, 48); break;
    case 64: memcpy(to, from, 64); break;
    default: memcpy(to, from, size);
    }
}

/* The loop over rows. */
PENSTOCK_INTERNAL const char *penstock_fold(
    const penstock_window *window, const penstock_batch *batch, char *states, penstock_rejects *rejects) {
    const size_t state_size = window->state.size, row_size = window->row.size, key_size = window->key.size;
    const bool nulls = penstock_batch_has_nulls(batch);
    char *rows = (char *)penstock_allocate_zeros(PENSTOCK_AT_ONCE * row_size);
    char *keys = (char *)penstock_allocate_zeros(batch->group_count * key_size);
    char *before = (char *)penstock_allocate(state_size);
    penstock_read(&window->key, batch->key_views, 0, batch->group_count, keys);
    for (size_t first = 0; first < batch->rows; first += PENSTOCK_AT_ONCE) {
        size_t count = batch->rows - first < PENSTOCK_AT_ONCE ? batch->rows - first : PENSTOCK_AT_ONCE;
        penstock_read(&window->row, batch->views, first, count, rows);
        for (size_t at = 0; at < count; at++) {
            const uint32_t group = batch->groups[first + at];
            char *state = states + group * state_size;
            penstock_reject reject = PENSTOCK_ZERO;
            if (nulls) reject = penstock_null_at(batch, first + at);
            if (!reject.code) {
                penstock_copy_state(before, state, state_size);
                reject = window->accumulate(keys + group * key_size, state, rows + at * row_size);
                if (reject.code) penstock_copy_state(state, before, state_size);
            }
            if (!reject.code) continue;
            if (reject.fails) return reject.detail.data;
            penstock_refuse_row(rejects, first + at, reject);
        }
    }
    return NULL;
}

/* The groups that have a row which was not rejected; none if that is all of them. */
PENSTOCK_INTERNAL void penstock_note_changed(const penstock_batch *batch, penstock_updated *updated) {
    if (!updated->rejects.count) return;
    uint8_t *changed = (uint8_t *)penstock_allocate_zeros(batch->group_count + 1);
    uint32_t *groups = (uint32_t *)penstock_allocate((batch->group_count + 1) * sizeof *groups);
    size_t next = 0, count = 0;
    for (size_t row = 0; row < batch->rows; row++) {
        if (next < updated->rejects.count && updated->rejects.rows[next].row == row) next++;
        else changed[batch->groups[row]] = 1;
    }
    for (size_t group = 0; group < batch->group_count; group++)
        if (changed[group]) groups[count++] = (uint32_t)group;
    if (count == batch->group_count) return;
    updated->changed = groups;
    updated->changed_count = count;
}

PENSTOCK_INTERNAL penstock_ended penstock_accumulate(
    const penstock_window *window, const penstock_opened *opened, const penstock_columns *input, const uint32_t *groups,
    const penstock_columns *keys, const penstock_columns *states, penstock_updated *updated) {
    penstock_ended ended = PENSTOCK_ZERO;
    uint32_t most = 0;
    for (uint32_t row = 0; row < input->rows; row++) most = groups[row] > most ? groups[row] : most;
    if (input->rows && most >= states->rows)
        return penstock_ended_as(PENSTOCK_FAILED, penstock_text_of("the host put a row into a group that it did not send"));
    penstock_batch batch = { input->rows, groups, states->rows, penstock_bind(&window->row, opened->row.slots, input),
        penstock_bind(&window->key, opened->key.slots, keys), &window->row };
    char *structs = (char *)penstock_read_all(&window->state, &opened->state, states);
    memset(updated, 0, sizeof *updated);
    const char *failed = window->accumulate_columns ? window->accumulate_columns(&batch, structs, &updated->rejects)
                                                    : penstock_fold(window, &batch, structs, &updated->rejects);
    if (failed) return penstock_ended_as(PENSTOCK_FAILED, penstock_text_of(failed));
    penstock_note_changed(&batch, updated);
    updated->states = penstock_write_all(
        &window->state, structs, updated->changed ? updated->changed_count : states->rows, updated->changed);
    return ended;
}

PENSTOCK_INTERNAL penstock_columns penstock_merge(
    const penstock_window *window, const penstock_opened *opened, const penstock_columns *earlier, const penstock_columns *later) {
    char *into = (char *)penstock_read_all(&window->state, &opened->state, earlier);
    char *from = (char *)penstock_read_all(&window->state, &opened->state, later);
    for (size_t row = 0; row < earlier->rows; row++) window->merge(into + row * window->state.size, from + row * window->state.size);
    return penstock_write_all(&window->state, into, earlier->rows, NULL);
}

PENSTOCK_INTERNAL penstock_output penstock_finish(
    const penstock_window *window, const penstock_opened *opened, const penstock_columns *keys, const penstock_columns *bounds,
    const penstock_columns *states) {
    const char *structs = (const char *)penstock_read_all(&window->state, &opened->state, states);
    const char *key = (const char *)penstock_read_all(&window->key, &opened->key, keys);
    const int64_t *starts = (const int64_t *)bounds->buffers[1].data, *ends = (const int64_t *)bounds->buffers[3].data;
    penstock_output output = PENSTOCK_ZERO;
    output.record = &window->output;
    for (uint32_t group = 0; group < states->rows; group++) {
        penstock_bounds of = { starts[group], ends[group] };
        output.source = group;
        window->finish(key + group * window->key.size, structs + group * window->state.size, of, &output);
    }
    return output;
}

/* What an older version wrote may have nulls where this one takes none; no text if there is no such null. */
PENSTOCK_INTERNAL penstock_text penstock_null_in_old(const penstock_record *old, const penstock_view *views, size_t rows, uint32_t version) {
    penstock_text path = { NULL, 0 };
    if (!penstock_has_nulls(views, penstock_span_of_record(old))) return path;
    for (size_t row = 0; row < rows; row++) {
        path = penstock_null_in_record(old, views, row);
        if (!path.data) continue;
        penstock_text parts[] = { penstock_text_of("the state of version "), penstock_text_of_int(version),
            penstock_text_of(" has a null in column `"), path, penstock_text_of("`, in row "), penstock_text_of_int((int64_t)row),
            penstock_text_of(", where the transform takes none: declare the member as penstock_opt_...") };
        return penstock_join_all(parts, sizeof parts / sizeof parts[0]);
    }
    return path;
}

PENSTOCK_INTERNAL penstock_ended penstock_migrate(
    const penstock_window *window, uint32_t version, const penstock_schema *schema, const penstock_columns *old, penstock_columns *into) {
    penstock_ended ended = PENSTOCK_ZERO;
    for (uint32_t at = 0; at < window->migration_count; at++) {
        const penstock_migration *migration = &window->migrations[at];
        if (migration->version != version) continue;
        penstock_layout layout = PENSTOCK_ZERO;
        penstock_text misfit = penstock_wrong_table(migration->old.columns, migration->old.count);
        if (!misfit.data) {
            penstock_text whose[] = { penstock_text_of("the state of version "), penstock_text_of_int(version) };
            misfit = penstock_lay_out(&migration->old, schema, false, penstock_join_all(whose, 2), &layout);
        }
        if (!misfit.data) misfit = penstock_null_in_old(&migration->old, penstock_bind(&migration->old, layout.slots, old), old->rows, version);
        if (misfit.data) {
            free(layout.slots);
            return penstock_ended_as(PENSTOCK_BAD_INPUT, misfit);
        }
        const char *from = (const char *)penstock_read_all(&migration->old, &layout, old);
        char *states = (char *)penstock_allocate((size_t)old->rows * window->state.size);
        for (uint32_t row = 0; row < old->rows; row++) {
            memcpy(states + row * window->state.size, penstock_initial(window), window->state.size);
            migration->migrate(from + row * migration->old.size, states + row * window->state.size);
        }
        free(layout.slots);
        *into = penstock_write_all(&window->state, states, old->rows, NULL);
        return ended;
    }
    return penstock_ended_as(PENSTOCK_BAD_INPUT, penstock_text_of("states of this version cannot be taken over"));
}

PENSTOCK_INTERNAL penstock_ended penstock_map(
    const penstock_mapper *mapper, const penstock_layout *layout, const penstock_columns *input, penstock_output *output, penstock_rejects *rejects) {
    penstock_ended ended = PENSTOCK_ZERO;
    penstock_batch batch = { input->rows, NULL, 0, penstock_bind(&mapper->row, layout->slots, input), NULL, &mapper->row };
    memset(output, 0, sizeof *output);
    output->record = &mapper->output;
    if (mapper->map_columns) {
        const char *failed = mapper->map_columns(&batch, output, rejects);
        return failed ? penstock_ended_as(PENSTOCK_FAILED, penstock_text_of(failed)) : ended;
    }
    const bool nulls = penstock_batch_has_nulls(&batch);
    char *rows = (char *)penstock_allocate_zeros(PENSTOCK_AT_ONCE * (size_t)mapper->row.size);
    for (size_t first = 0; first < batch.rows; first += PENSTOCK_AT_ONCE) {
        size_t count = batch.rows - first < PENSTOCK_AT_ONCE ? batch.rows - first : PENSTOCK_AT_ONCE;
        penstock_read(&mapper->row, batch.views, first, count, rows);
        for (size_t at = 0; at < count; at++) {
            penstock_reject reject = PENSTOCK_ZERO;
            const size_t given = output->count;
            output->source = (uint32_t)(first + at);
            if (nulls) reject = penstock_null_at(&batch, first + at);
            if (!reject.code) reject = mapper->map(rows + at * mapper->row.size, output);
            if (!reject.code) continue;
            if (reject.fails) return penstock_ended_as(PENSTOCK_FAILED, reject.detail);
            output->count = given; /* A rejected row gives nothing. */
            penstock_refuse_row(rejects, first + at, reject);
        }
    }
    return ended;
}

/* ---- The component's exports ------------------------------------------------------------------------------------- */

#if defined(__wasm__)

#define PENSTOCK_EXPORT(name) __attribute__((export_name(name)))

/* Where the host puts arguments. They go when the call's result has been read. */
PENSTOCK_SHARED PENSTOCK_EXPORT("cabi_realloc") void *penstock_cabi_realloc(void *old, size_t had, size_t align, size_t size) {
    (void)align;
    void *memory = penstock_allocate(size);
    if (old && had) memcpy(memory, old, had < size ? had : size);
    return memory;
}

/* Results as the canonical ABI lays them out. */
typedef struct { const void *data; size_t count; } penstock_abi_list;
typedef struct { uint32_t rows; penstock_abi_list buffers; } penstock_abi_columns;
typedef struct { uint8_t tag; penstock_text message; } penstock_abi_failure;
typedef struct { penstock_text event; penstock_abi_list columns; } penstock_abi_needs;

typedef struct {
    penstock_abi_list needs, state;
    uint32_t state_version;
    penstock_abi_list migrates_from;
    penstock_abi_columns initial;
    penstock_abi_list output, options;
} penstock_abi_windowed_spec;
typedef struct { penstock_abi_list needs, output, options; } penstock_abi_mapper_spec;
typedef struct {
    penstock_abi_columns states;
    uint8_t has_changed;
    penstock_abi_list changed;
    penstock_abi_list rejects;
} penstock_abi_updated;
typedef struct { penstock_abi_columns output; penstock_abi_list source; } penstock_abi_finished;
typedef struct { penstock_abi_columns output; penstock_abi_list source; penstock_abi_list rejects; } penstock_abi_mapped;

typedef struct {
    uint8_t failed;
    union {
        penstock_abi_failure failure;
        penstock_abi_windowed_spec windowed_spec;
        penstock_abi_mapper_spec mapper_spec;
        penstock_abi_updated updated;
        penstock_abi_finished finished;
        penstock_abi_mapped mapped;
        penstock_abi_columns columns;
    } as;
} penstock_abi_result;

PENSTOCK_INTERNAL penstock_abi_list penstock_abi_list_of(const void *data, size_t count) {
    penstock_abi_list list = { data, count };
    return list;
}
PENSTOCK_INTERNAL penstock_abi_columns penstock_abi_columns_of(penstock_columns columns) {
    penstock_abi_columns made = { columns.rows, { columns.buffers, columns.count } };
    return made;
}
PENSTOCK_INTERNAL penstock_abi_result *penstock_abi_ended(penstock_ended ended) {
    penstock_abi_result *result = (penstock_abi_result *)penstock_allocate_zeros(sizeof *result);
    if (ended.failed) {
        result->failed = 1;
        result->as.failure.tag = (uint8_t)ended.failure;
        result->as.failure.message = ended.message;
    }
    return result;
}
PENSTOCK_INTERNAL penstock_columns penstock_abi_input(uint32_t rows, const void *buffers, size_t count) {
    penstock_columns columns = { rows, (const penstock_buffer *)buffers, count };
    return columns;
}
PENSTOCK_INTERNAL penstock_opening penstock_abi_opening(
    const char *config, size_t config_length, const void *events, size_t event_count, const void *key, size_t key_count) {
    penstock_opening opening = { { config, config_length }, (const penstock_event *)events, event_count, { (penstock_field *)key, key_count } };
    return opening;
}
PENSTOCK_INTERNAL penstock_abi_list penstock_abi_schema(const penstock_record *record) {
    penstock_schema schema = penstock_describe(record);
    return penstock_abi_list_of(schema.fields, schema.count);
}
PENSTOCK_INTERNAL penstock_abi_list penstock_abi_needs_of(const penstock_opening *opening, const penstock_record *row) {
    penstock_abi_needs *needs = (penstock_abi_needs *)penstock_allocate(sizeof *needs);
    penstock_text *names = (penstock_text *)penstock_allocate(row->count * sizeof *names);
    for (uint32_t at = 0; at < row->count; at++) names[at] = penstock_text_of(row->columns[at].name);
    needs->event = opening->events[0].name;
    needs->columns = penstock_abi_list_of(names, row->count);
    return penstock_abi_list_of(needs, 1);
}

PENSTOCK_INTERNAL void *penstock_abi_open_windowed(const penstock_window *window, const penstock_opening *opening, penstock_opened *opened) {
    penstock_abi_result *result = penstock_abi_ended(penstock_open(window, opening, opened));
    if (result->failed) return result;
    penstock_abi_windowed_spec *spec = &result->as.windowed_spec;
    uint32_t *from = (uint32_t *)penstock_allocate(window->migration_count * sizeof *from);
    for (uint32_t at = 0; at < window->migration_count; at++) from[at] = window->migrations[at].version;
    spec->needs = penstock_abi_needs_of(opening, &window->row);
    spec->state = penstock_abi_schema(&window->state);
    spec->state_version = window->state_version ? window->state_version : 1;
    spec->migrates_from = penstock_abi_list_of(from, window->migration_count);
    spec->initial = penstock_abi_columns_of(penstock_write_all(&window->state, penstock_initial(window), 1, NULL));
    spec->output = penstock_abi_schema(&window->output);
    return result;
}
PENSTOCK_INTERNAL void *penstock_abi_accumulate(
    const penstock_window *window, const penstock_opened *opened, const penstock_columns input, const uint32_t *groups,
    const penstock_columns keys, const penstock_columns states) {
    penstock_updated updated;
    penstock_abi_result *result = penstock_abi_ended(penstock_accumulate(window, opened, &input, groups, &keys, &states, &updated));
    if (result->failed) return result;
    result->as.updated.states = penstock_abi_columns_of(updated.states);
    result->as.updated.has_changed = updated.changed != NULL;
    result->as.updated.changed = penstock_abi_list_of(updated.changed, updated.changed_count * 4);
    result->as.updated.rejects = penstock_abi_list_of(updated.rejects.rows, updated.rejects.count);
    return result;
}
PENSTOCK_INTERNAL void *penstock_abi_merge(
    const penstock_window *window, const penstock_opened *opened, const penstock_columns earlier, const penstock_columns later) {
    penstock_ended well = PENSTOCK_ZERO;
    penstock_abi_result *result = penstock_abi_ended(well);
    result->as.columns = penstock_abi_columns_of(penstock_merge(window, opened, &earlier, &later));
    return result;
}
PENSTOCK_INTERNAL void *penstock_abi_finish(
    const penstock_window *window, const penstock_opened *opened, const penstock_columns keys, const penstock_columns bounds,
    const penstock_columns states) {
    penstock_ended well = PENSTOCK_ZERO;
    penstock_abi_result *result = penstock_abi_ended(well);
    penstock_output output = penstock_finish(window, opened, &keys, &bounds, &states);
    result->as.finished.output = penstock_abi_columns_of(penstock_write_all(output.record, output.rows, output.count, NULL));
    result->as.finished.source = penstock_abi_list_of(output.sources, output.count * 4);
    return result;
}
PENSTOCK_INTERNAL void *penstock_abi_migrate(
    const penstock_window *window, uint32_t version, const void *fields, size_t field_count, const penstock_columns old) {
    penstock_schema schema = { (penstock_field *)fields, field_count };
    penstock_columns states = PENSTOCK_ZERO;
    penstock_abi_result *result = penstock_abi_ended(penstock_migrate(window, version, &schema, &old, &states));
    if (!result->failed) result->as.columns = penstock_abi_columns_of(states);
    return result;
}
PENSTOCK_INTERNAL void *penstock_abi_open_mapper(const penstock_mapper *mapper, const penstock_opening *opening, penstock_layout *layout) {
    penstock_abi_result *result = penstock_abi_ended(penstock_open_mapping(mapper, opening, layout));
    if (result->failed) return result;
    result->as.mapper_spec.needs = penstock_abi_needs_of(opening, &mapper->row);
    result->as.mapper_spec.output = penstock_abi_schema(&mapper->output);
    return result;
}
PENSTOCK_INTERNAL void *penstock_abi_map(const penstock_mapper *mapper, const penstock_layout *layout, const penstock_columns input) {
    penstock_output output;
    penstock_rejects rejects = PENSTOCK_ZERO;
    penstock_abi_result *result = penstock_abi_ended(penstock_map(mapper, layout, &input, &output, &rejects));
    if (result->failed) return result;
    result->as.mapped.output = penstock_abi_columns_of(penstock_write_all(output.record, output.rows, output.count, NULL));
    result->as.mapped.source = penstock_abi_list_of(output.sources, output.count * 4);
    result->as.mapped.rejects = penstock_abi_list_of(rejects.rows, rejects.count);
    return result;
}

#define PENSTOCK_OPENING_PARAMETERS \
    const char *config, size_t config_length, const void *events, size_t event_count, const void *key, size_t key_count, \
        const void *options, size_t option_count
#define PENSTOCK_OPENING_GIVEN \
    (void)options, (void)option_count; \
    penstock_opening opening = penstock_abi_opening(config, config_length, events, event_count, key, key_count)
#define PENSTOCK_COLUMNS(name) uint32_t name##_rows, const void *name##_buffers, size_t name##_count
#define PENSTOCK_GIVEN(name) penstock_abi_input(name##_rows, name##_buffers, name##_count)
#define PENSTOCK_AFTER(interface, function, name) \
    PENSTOCK_EXPORT("cabi_post_penstock:transform/" interface "@0.1.0#" function) void penstock_after_##name(void *result) { \
        (void)result; \
        penstock_end_call(); \
    }

/* Makes a component of a penstock_window. Once in a program. */
#define PENSTOCK_WINDOW(...) \
    static penstock_opened penstock_opened_window; \
    static const penstock_window *penstock_the_window(void) { \
        static const penstock_window window = __VA_ARGS__; \
        return &window; \
    } \
    PENSTOCK_EXPORT("penstock:transform/windowed@0.1.0#open-windowed") void *penstock_open_windowed(PENSTOCK_OPENING_PARAMETERS) { \
        PENSTOCK_OPENING_GIVEN; \
        return penstock_abi_open_windowed(penstock_the_window(), &opening, &penstock_opened_window); \
    } \
    PENSTOCK_EXPORT("penstock:transform/windowed@0.1.0#accumulate") void *penstock_accumulate_rows( \
        uint32_t event, PENSTOCK_COLUMNS(input), const void *groups, size_t groups_length, PENSTOCK_COLUMNS(keys), PENSTOCK_COLUMNS(states)) { \
        (void)event, (void)groups_length; \
        return penstock_abi_accumulate(penstock_the_window(), &penstock_opened_window, PENSTOCK_GIVEN(input), (const uint32_t *)groups, \
            PENSTOCK_GIVEN(keys), PENSTOCK_GIVEN(states)); \
    } \
    PENSTOCK_EXPORT("penstock:transform/windowed@0.1.0#merge-states") void *penstock_merge_states( \
        PENSTOCK_COLUMNS(keys), PENSTOCK_COLUMNS(earlier), PENSTOCK_COLUMNS(later)) { \
        (void)keys_rows, (void)keys_buffers, (void)keys_count; \
        return penstock_abi_merge(penstock_the_window(), &penstock_opened_window, PENSTOCK_GIVEN(earlier), PENSTOCK_GIVEN(later)); \
    } \
    PENSTOCK_EXPORT("penstock:transform/windowed@0.1.0#finish-groups") void *penstock_finish_groups( \
        PENSTOCK_COLUMNS(keys), PENSTOCK_COLUMNS(bounds), PENSTOCK_COLUMNS(states)) { \
        return penstock_abi_finish(penstock_the_window(), &penstock_opened_window, PENSTOCK_GIVEN(keys), PENSTOCK_GIVEN(bounds), PENSTOCK_GIVEN(states)); \
    } \
    PENSTOCK_AFTER("windowed", "open-windowed", open_windowed) \
    PENSTOCK_AFTER("windowed", "accumulate", accumulate) \
    PENSTOCK_AFTER("windowed", "merge-states", merge_states) \
    PENSTOCK_AFTER("windowed", "finish-groups", finish_groups)

/* Also exports the migrations of the PENSTOCK_WINDOW above it. */
#define PENSTOCK_MIGRATING \
    PENSTOCK_EXPORT("penstock:transform/migration@0.1.0#migrate-states") void *penstock_migrate_states( \
        uint32_t version, const void *fields, size_t field_count, PENSTOCK_COLUMNS(states)) { \
        return penstock_abi_migrate(penstock_the_window(), version, fields, field_count, PENSTOCK_GIVEN(states)); \
    } \
    PENSTOCK_AFTER("migration", "migrate-states", migrate_states)

/* Makes a component of a penstock_mapper. Once in a program; a PENSTOCK_WINDOW beside it sees what it makes of rows. */
#define PENSTOCK_MAPPER(...) \
    static penstock_layout penstock_opened_mapper; \
    static const penstock_mapper *penstock_the_mapper(void) { \
        static const penstock_mapper mapper = __VA_ARGS__; \
        return &mapper; \
    } \
    PENSTOCK_EXPORT("penstock:transform/mapper@0.1.0#open-mapper") void *penstock_open_mapper(PENSTOCK_OPENING_PARAMETERS) { \
        PENSTOCK_OPENING_GIVEN; \
        return penstock_abi_open_mapper(penstock_the_mapper(), &opening, &penstock_opened_mapper); \
    } \
    PENSTOCK_EXPORT("penstock:transform/mapper@0.1.0#map-rows") void *penstock_map_rows(uint32_t event, PENSTOCK_COLUMNS(input)) { \
        (void)event; \
        return penstock_abi_map(penstock_the_mapper(), &penstock_opened_mapper, PENSTOCK_GIVEN(input)); \
    } \
    PENSTOCK_AFTER("mapper", "open-mapper", open_mapper) \
    PENSTOCK_AFTER("mapper", "map-rows", map_rows)

#else

/* Natively these only check that the transform could be exported. */
#define PENSTOCK_WINDOW(...) \
    PENSTOCK_INTERNAL const penstock_window *penstock_the_window(void) { \
        static const penstock_window window = __VA_ARGS__; \
        return &window; \
    }
#define PENSTOCK_MIGRATING
#define PENSTOCK_MAPPER(...) \
    PENSTOCK_INTERNAL const penstock_mapper *penstock_the_mapper(void) { \
        static const penstock_mapper mapper = __VA_ARGS__; \
        return &mapper; \
    }

#endif

#ifdef __cplusplus
}
#endif
#endif
