/* What every SDK is held against: guest-sdk/CONFORMANCE.md says what it does. */

#include "penstock.h"

typedef struct { double x; penstock_opt_float64 y; } Point;
static const penstock_column POINT[] = { PENSTOCK_COLUMN(Point, x), PENSTOCK_COLUMN(Point, y) };

PENSTOCK_ITEM(INT32S, penstock_opt_int32)

typedef struct { bool has; Point value; } opt_point;
typedef struct { penstock_opt_text name; opt_point point; penstock_list visits; } Place;
static const penstock_column PLACE[] = {
    PENSTOCK_COLUMN(Place, name),
    PENSTOCK_STRUCT_OPT(Place, point, Point, POINT),
    PENSTOCK_LIST(Place, visits, INT32S),
};

typedef struct { bool has; Place value; } opt_place;
typedef struct { bool has; uint8_t value[5]; } opt_fixed;

PENSTOCK_ITEM(INT64S, penstock_opt_int64)
PENSTOCK_ITEM(INT16S, penstock_opt_int16)
PENSTOCK_ITEM(TEXTS, penstock_opt_text)
PENSTOCK_ITEM(BOOLS, penstock_opt_bool)
PENSTOCK_ITEM_LIST(BOOLS_OF, penstock_opt_list, BOOLS)
PENSTOCK_ITEM_STRUCT_OPT(PLACES, opt_place, Place, PLACE)

/* X(member type, member) for each of the values. */
#define VALUES(X) \
    X(penstock_opt_bool, boolean) \
    X(penstock_opt_int8, int8) \
    X(penstock_opt_int16, int16) \
    X(penstock_opt_int32, int32) \
    X(penstock_opt_int64, int64) \
    X(penstock_opt_uint8, uint8) \
    X(penstock_opt_uint16, uint16) \
    X(penstock_opt_uint32, uint32) \
    X(penstock_opt_uint64, uint64) \
    X(penstock_opt_float16, float16) \
    X(penstock_opt_float32, float32) \
    X(penstock_opt_float64, float64) \
    X(penstock_opt_decimal128, decimal128) \
    X(penstock_opt_decimal256, decimal256) \
    X(penstock_opt_date, date32) \
    X(penstock_opt_date_millis, date64) \
    X(penstock_opt_time_s, time_s) \
    X(penstock_opt_time_ms, time_ms) \
    X(penstock_opt_time_us, time_us) \
    X(penstock_opt_time_ns, time_ns) \
    X(penstock_opt_timestamp_s, timestamp_s) \
    X(penstock_opt_timestamp_ms, timestamp_ms) \
    X(penstock_opt_timestamp_us, timestamp_us) \
    X(penstock_opt_timestamp_ns, timestamp_ns) \
    X(penstock_opt_timestamp_us, timestamp_paris) \
    X(penstock_opt_local_us, timestamp_no_zone) \
    X(penstock_opt_duration_s, duration_s) \
    X(penstock_opt_duration_ms, duration_ms) \
    X(penstock_opt_duration_us, duration_us) \
    X(penstock_opt_duration_ns, duration_ns) \
    X(opt_fixed, fixed_binary) \
    X(penstock_opt_text, utf8) \
    X(penstock_opt_bytes, binary) \
    X(penstock_opt_text, large_utf8) \
    X(penstock_opt_bytes, large_binary) \
    X(penstock_opt_list, list) \
    X(penstock_opt_list, list_utf8) \
    X(penstock_opt_list, list_of_lists) \
    X(penstock_opt_list, large_list) \
    X(opt_place, place) \
    X(penstock_opt_list, places)
#define MEMBER(type, name) type name;
#define REPLACE(type, name) if (from->name.has) into->name = from->name;

/* The same for their columns, in a struct that has the members. */
#define COLUMNS(type) \
    PENSTOCK_COLUMN(type, boolean), \
    PENSTOCK_COLUMN(type, int8), \
    PENSTOCK_COLUMN(type, int16), \
    PENSTOCK_COLUMN(type, int32), \
    PENSTOCK_COLUMN(type, int64), \
    PENSTOCK_COLUMN(type, uint8), \
    PENSTOCK_COLUMN(type, uint16), \
    PENSTOCK_COLUMN(type, uint32), \
    PENSTOCK_COLUMN(type, uint64), \
    PENSTOCK_COLUMN(type, float16), \
    PENSTOCK_COLUMN(type, float32), \
    PENSTOCK_COLUMN(type, float64), \
    PENSTOCK_DECIMAL(type, decimal128, 20, 4), \
    PENSTOCK_DECIMAL(type, decimal256, 50, 10), \
    PENSTOCK_COLUMN(type, date32), \
    PENSTOCK_COLUMN(type, date64), \
    PENSTOCK_COLUMN(type, time_s), \
    PENSTOCK_COLUMN(type, time_ms), \
    PENSTOCK_COLUMN(type, time_us), \
    PENSTOCK_COLUMN(type, time_ns), \
    PENSTOCK_COLUMN(type, timestamp_s), \
    PENSTOCK_COLUMN(type, timestamp_ms), \
    PENSTOCK_COLUMN(type, timestamp_us), \
    PENSTOCK_COLUMN(type, timestamp_ns), \
    PENSTOCK_ZONED(type, timestamp_paris, "Europe/Paris"), \
    PENSTOCK_COLUMN(type, timestamp_no_zone), \
    PENSTOCK_COLUMN(type, duration_s), \
    PENSTOCK_COLUMN(type, duration_ms), \
    PENSTOCK_COLUMN(type, duration_us), \
    PENSTOCK_COLUMN(type, duration_ns), \
    PENSTOCK_FIXED_OPT(type, fixed_binary), \
    PENSTOCK_COLUMN(type, utf8), \
    PENSTOCK_COLUMN(type, binary), \
    PENSTOCK_COLUMN(type, large_utf8), \
    PENSTOCK_COLUMN(type, large_binary), \
    PENSTOCK_LIST(type, list, INT64S), \
    PENSTOCK_LIST(type, list_utf8, TEXTS), \
    PENSTOCK_LIST(type, list_of_lists, BOOLS_OF), \
    PENSTOCK_LIST(type, large_list, INT16S), \
    PENSTOCK_STRUCT_OPT(type, place, Place, PLACE), \
    PENSTOCK_LIST(type, places, PLACES)

typedef struct { penstock_opt_text command; int64_t required; VALUES(MEMBER) } Row;
static const penstock_column ROW[] = { PENSTOCK_COLUMN(Row, command), PENSTOCK_COLUMN(Row, required), COLUMNS(Row) };

/* The state and the output of the window. */
typedef struct { uint64_t count; int64_t sum; uint64_t polynomial; VALUES(MEMBER) } Last;
static const penstock_column LAST[] = {
    PENSTOCK_COLUMN(Last, count), PENSTOCK_COLUMN(Last, sum), PENSTOCK_COLUMN(Last, polynomial), COLUMNS(Last)
};

typedef struct { uint32_t copy; int64_t required; VALUES(MEMBER) } Copied;
static const penstock_column COPIED[] = { PENSTOCK_COLUMN(Copied, copy), PENSTOCK_COLUMN(Copied, required), COLUMNS(Copied) };

/* Does what the row's command says. */
static penstock_reject obey(const Row *row) {
    if (!row->command.has) return PENSTOCK_TAKEN;
    const penstock_text command = row->command.value;
    const penstock_text text = row->utf8.has ? row->utf8.value : penstock_text_of("nothing");
    if (penstock_text_is(command, "reject")) return penstock_refuse("refused", penstock_join(penstock_text_of("a row of "), text));
    if (penstock_text_is(command, "fail")) return penstock_fail("asked to fail");
    if (penstock_text_is(command, "log")) penstock_log(PENSTOCK_INFO, penstock_join(penstock_text_of("hello "), text));
    if (penstock_text_is(command, "count")) {
        penstock_count("rows_counted", 1);
        penstock_observe("float64_seen", row->float64.has ? row->float64.value : 0);
    }
    return PENSTOCK_TAKEN;
}

typedef struct { int64_t key; } Key;
static const penstock_column KEY[] = { PENSTOCK_COLUMN(Key, key) };

/* The function that is to fail, if one is. It is set once, when the window is opened. */
static const char *fails = "";

static void fail_in(const char *function) {
    if (strcmp(function, fails) != 0) return;
    penstock_log(PENSTOCK_ERROR, penstock_text_of("asked to fail"));
    abort();
}

static const char *open_window(penstock_text config) {
    static const char *const functions[] = { "merge", "finish", "migrate" };
    fails = "";
    if (penstock_text_is(config, "{}")) return NULL;
    if (penstock_text_is(config, "{\"fails\":\"open\"}")) return "asked to fail";
    for (size_t at = 0; at < sizeof functions / sizeof functions[0]; at++) {
        penstock_text whole = penstock_join(penstock_text_of("{\"fails\":\""), penstock_text_of(functions[at]), penstock_text_of("\"}"));
        if (!penstock_text_is(config, whole.data)) continue;
        fails = functions[at];
        return NULL;
    }
    return "that is no configuration of mine";
}

/* Items of states belong to the SDK, so the longer list is a new one. */
static void append(penstock_list *list, int64_t item) {
    penstock_opt_int64 *items = penstock_allocate((list->length + 1) * sizeof *items);
    if (list->length) memcpy(items, list->items, list->length * sizeof *items);
    items[list->length] = (penstock_opt_int64){ true, item };
    list->items = items;
    list->length += 1;
}

static penstock_reject accumulate(const void *key, void *state, const void *row) {
    Last *into = state;
    const Row *from = row;
    if (from->command.has && penstock_text_is(from->command.value, "reject")) {
        into->count += 1000;
        into->utf8.has = false;
    }
    const penstock_reject reject = obey(from);
    if (reject.code) return reject;
    into->count += 1;
    into->sum = (int64_t)((uint64_t)into->sum + (uint64_t)from->required);
    into->polynomial = into->polynomial * 31 + (uint64_t)from->required + (uint64_t)((const Key *)key)->key;
    VALUES(REPLACE)
    if (from->command.has && penstock_text_is(from->command.value, "append") && into->list.has) append(&into->list.value, from->required);
    return PENSTOCK_TAKEN;
}

static void merge(void *earlier, const void *later) {
    fail_in("merge");
    Last *into = earlier;
    const Last *from = later;
    uint64_t power = 1, base = 31;
    for (uint64_t left = from->count; left; left >>= 1, base *= base)
        if (left & 1) power *= base;
    into->count += from->count;
    into->sum = (int64_t)((uint64_t)into->sum + (uint64_t)from->sum);
    into->polynomial = into->polynomial * power + from->polynomial;
    VALUES(REPLACE)
}

static void finish(const void *key, const void *state, penstock_bounds bounds, penstock_output *output) {
    fail_in("finish");
    Last last = *(const Last *)state;
    if (last.count == 0) return;
    const uint64_t whose = (uint64_t)((const Key *)key)->key;
    last.sum = (int64_t)((uint64_t)last.sum + whose + 3 * (uint64_t)bounds.start + 5 * (uint64_t)bounds.end);
    penstock_emit(output, &last);
}

static penstock_reject map(const void *row, penstock_output *output) {
    const Row *from = row;
    const penstock_reject reject = obey(from);
    if (reject.code) return reject;
    Copied copied = { .required = from->required }, *into = &copied;
    VALUES(REPLACE)
    for (uint32_t copy = 0; copy < (uint32_t)(from->required & 3); copy++) {
        copied.copy = copy;
        penstock_emit(output, &copied);
    }
    return PENSTOCK_TAKEN;
}

/* A state of an older version. */
typedef struct { uint64_t count; } Old;
static const penstock_column OLD[] = { PENSTOCK_COLUMN(Old, count) };

static void migrate(const void *old, void *state) {
    fail_in("migrate");
    ((Last *)state)->count = ((const Old *)old)->count;
}

static const penstock_migration MIGRATIONS[] = {
    { .version = 1, .old = PENSTOCK_RECORD(Old, OLD), .migrate = migrate },
    { .version = 2, .old = PENSTOCK_RECORD(Old, OLD), .migrate = migrate },
};

PENSTOCK_WINDOW({
    .row = PENSTOCK_RECORD(Row, ROW),
    .key = PENSTOCK_RECORD(Key, KEY),
    .state = PENSTOCK_RECORD(Last, LAST),
    .output = PENSTOCK_RECORD(Last, LAST),
    .state_version = 3,
    .open = open_window,
    .accumulate = accumulate,
    .merge = merge,
    .finish = finish,
    .migrations = MIGRATIONS,
    .migration_count = 2,
})
PENSTOCK_MIGRATING
PENSTOCK_MAPPER({ .row = PENSTOCK_RECORD(Row, ROW), .output = PENSTOCK_RECORD(Copied, COPIED), .map = map })
