/* Every type through columns and back, natively: on the structs of the conformance guest, which has them all. */

#include "../../../tests/languages/guests/c/conformance.c"

#define CHECK(what) \
    if (!(what)) { \
        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
        return 1; \
    }

enum { ROWS = 300 };

static uint64_t seed = 1;
static uint64_t next_random(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
}

/* Fills what a column describes with something. */
static void fill(const penstock_column *column, char *at) {
    if (column->nullable) *(bool *)(at + column->has) = next_random() % 3 != 0;
    if (column->nullable && !*(bool *)(at + column->has)) return;
    char *value = at + column->value;
    switch (column->kind) {
    case PENSTOCK_KIND_bool: *(bool *)value = next_random() & 1; break;
    case PENSTOCK_KIND_text:
    case PENSTOCK_KIND_bytes: {
        penstock_text text = penstock_text_of_int((int64_t)(next_random() % 100000));
        memcpy(value, &text, sizeof text);
        break;
    }
    case PENSTOCK_KIND_struct:
        for (uint32_t child = 0; child < column->record.count; child++) fill(&column->record.columns[child], value);
        break;
    case PENSTOCK_KIND_list: {
        penstock_list list = { NULL, next_random() % 4 };
        list.items = penstock_allocate_zeros(list.length * column->item_size);
        for (size_t item = 0; item < list.length; item++) fill(column->item, (char *)list.items + item * column->item_size);
        memcpy(value, &list, sizeof list);
        break;
    }
    default:
        for (uint32_t byte = 0; byte < penstock_width(column); byte++) value[byte] = (char)next_random();
    }
}

static int survives(penstock_record record) {
    for (size_t rows = 0; rows <= ROWS; rows = rows * 3 + 1) {
        char *made = penstock_allocate_zeros((rows + 1) * record.size);
        for (size_t row = 0; row < rows; row++)
            for (uint32_t column = 0; column < record.count; column++) fill(&record.columns[column], made + row * record.size);
        penstock_columns columns = penstock_write_all(&record, made, rows, NULL);
        penstock_layout layout = { 0 };
        penstock_lay_out_own(&record, &layout);
        void *read = penstock_read_all(&record, &layout, &columns);
        penstock_columns again = penstock_write_all(&record, read, rows, NULL);
        CHECK(columns.count == again.count && again.rows == rows);
        for (size_t buffer = 0; buffer < columns.count; buffer++) {
            const penstock_buffer a = columns.buffers[buffer], b = again.buffers[buffer];
            CHECK(a.length == b.length && memcmp(a.data, b.data, a.length) == 0);
        }
        free(layout.slots);
        penstock_end_call();
    }
    return 0;
}

/* What the conformance guest has not: other names, and items of each way of being declared. */
typedef uint8_t Id[16];
typedef struct { bool has; uint8_t value[3]; } opt_three;
typedef struct { int32_t a; } Inner;
static const penstock_column INNER[] = { PENSTOCK_COLUMN_AS("inner a", Inner, a) };
typedef struct { bool has; Inner value; } opt_inner;
PENSTOCK_ITEM_DECIMAL(FARES, penstock_decimal128, 12, 2)
PENSTOCK_ITEM_DECIMAL(OPT_FARES, penstock_opt_decimal256, 40, 2)
PENSTOCK_ITEM_FIXED(IDS, Id)
PENSTOCK_ITEM_FIXED_OPT(OPT_IDS, opt_three)
PENSTOCK_ITEM_ZONED(TIMES, penstock_opt_timestamp_ms, "Europe/Paris")
PENSTOCK_ITEM_STRUCT(INNERS, Inner, INNER)
PENSTOCK_ITEM_LIST(FARES_OF, penstock_list, FARES)
typedef struct {
    penstock_list fares, opt_fares, ids, opt_ids, times, inners;
    penstock_opt_list fares_of;
    penstock_decimal256 fare;
    penstock_timestamp_s at;
    Id id;
    opt_three three;
    Inner inner;
    opt_inner perhaps;
} Named;
static const penstock_column NAMED[] = {
    PENSTOCK_LIST_AS("the fares", Named, fares, FARES),
    PENSTOCK_LIST(Named, opt_fares, OPT_FARES),
    PENSTOCK_LIST(Named, ids, IDS),
    PENSTOCK_LIST(Named, opt_ids, OPT_IDS),
    PENSTOCK_LIST(Named, times, TIMES),
    PENSTOCK_LIST(Named, inners, INNERS),
    PENSTOCK_LIST(Named, fares_of, FARES_OF),
    PENSTOCK_DECIMAL_AS("the fare", Named, fare, 50, 10),
    PENSTOCK_ZONED_AS("at", Named, at, "Asia/Tokyo"),
    PENSTOCK_FIXED_AS("the id", Named, id),
    PENSTOCK_FIXED_OPT_AS("three", Named, three),
    PENSTOCK_STRUCT_AS("the inner", Named, inner, Inner, INNER),
    PENSTOCK_STRUCT_OPT_AS("perhaps an inner", Named, perhaps, Inner, INNER),
};

static int every_type(void) {
    const penstock_record row = PENSTOCK_RECORD(Row, ROW), named = PENSTOCK_RECORD(Named, NAMED);
    CHECK(!penstock_wrong_table(NAMED, named.count).data);
    return survives(row) || survives(named);
}

static int names_and_formats_are_as_declared(void) {
    static const char *const expected[][2] = {
        { "the fares", "+l" }, { "item", "d:12,2" }, { "opt_fares", "+l" }, { "item", "d:40,2,256" }, { "ids", "+l" }, { "item", "w:16" },
        { "opt_ids", "+l" }, { "item", "w:3" }, { "times", "+l" }, { "item", "tsm:Europe/Paris" }, { "inners", "+l" }, { "item", "+s" },
        { "inner a", "i" }, { "fares_of", "+l" }, { "item", "+l" }, { "item", "d:12,2" }, { "the fare", "d:50,10,256" },
        { "at", "tss:Asia/Tokyo" }, { "the id", "w:16" }, { "three", "w:3" }, { "the inner", "+s" }, { "inner a", "i" },
        { "perhaps an inner", "+s" }, { "inner a", "i" },
    };
    const penstock_record named = PENSTOCK_RECORD(Named, NAMED);
    const penstock_schema schema = penstock_describe(&named);
    CHECK(schema.count == sizeof expected / sizeof expected[0]);
    for (size_t at = 0; at < schema.count; at++)
        CHECK(penstock_text_is(schema.fields[at].name, expected[at][0]) && penstock_text_is(schema.fields[at].format, expected[at][1]));
    return 0;
}

/* Opens a window whose state has just this column. */
static penstock_ended open_with(penstock_column column, penstock_opened *opened) {
    const penstock_record row = PENSTOCK_RECORD(Inner, INNER);
    const penstock_window window = { .row = row, .state = { &column, 1, sizeof(Named) }, .output = row };
    const penstock_event event = { penstock_text_of("ride"), penstock_describe(&row) };
    const penstock_opening opening = { penstock_text_of("{}"), &event, 1, { NULL, 0 } };
    return penstock_open(&window, &opening, opened);
}

static int tables_that_leave_something_open_are_refused(void) {
    PENSTOCK_ITEM(BARE, penstock_decimal128)
    const struct { penstock_column column; const char *why; } cases[] = {
        { PENSTOCK_COLUMN(Named, fare), "types.c:" },
        { PENSTOCK_COLUMN(Named, fare), "`fare` is a decimal without digits" },
        { PENSTOCK_LIST(Named, fares, BARE), "`item` is a decimal without digits" },
        { PENSTOCK_COLUMN(Named, fares), "`fares` is a list without items" },
        { PENSTOCK_ZONED(Inner, a, "UTC"), "`a` is in a zone" },
        { { .name = "x", .file = "f.c", .kind = PENSTOCK_KIND_fixed }, "a fixed length of 0 bytes" },
    };
    for (size_t at = 0; at < sizeof cases / sizeof cases[0]; at++) {
        penstock_opened opened;
        const penstock_ended ended = open_with(cases[at].column, &opened);
        CHECK(ended.failed && ended.failure == PENSTOCK_BAD_INPUT && strstr(ended.message.data, cases[at].why));
    }
    penstock_opened opened;
    CHECK(!open_with(NAMED[0], &opened).failed);
    return 0;
}

static int nulls_deep_inside_are_named(void) {
    const penstock_record row = PENSTOCK_RECORD(Row, ROW);
    opt_place places[2] = { { true, { .point = { true, { 1, { true, 2 } } } } }, { true, { .point = { true, { 3, { false, 0 } } } } } };
    const Row made[2] = { { .places = { true, { places, 2 } } }, { .places = { true, { places, 1 } } } };
    penstock_columns columns = penstock_write_all(&row, made, 2, NULL);
    penstock_layout layout = { 0 };
    penstock_lay_out_own(&row, &layout);
    penstock_view *views = penstock_bind(&row, layout.slots, &columns);
    CHECK(!penstock_null_in_row(&row, views, 0).code);
    /* The last column is places: its item, that one's name, point, x, y, visits, and their items. */
    const penstock_batch batch = { 2, NULL, 0, views, NULL, &row };
    penstock_view *x = (penstock_view *)penstock_column_at(&batch, row.count - 1) + 4;
    CHECK(strcmp(x->column->name, "x") == 0);
    const uint8_t second_is_null = 5;
    x->validity = &second_is_null;
    const penstock_reject reject = penstock_null_in_row(&row, views, 0);
    CHECK(reject.code && strcmp(reject.detail.data, "column `places.item.point.x` is null") == 0);
    CHECK(!penstock_null_in_row(&row, views, 1).code);
    free(layout.slots);
    return 0;
}

static int misfits_are_named(void) {
    const penstock_window *window = penstock_the_window();
    penstock_schema schema = penstock_describe(&window->row);
    schema.fields[1].format = penstock_text_of("u");
    const penstock_event event = { penstock_text_of("ride"), schema };
    penstock_opening opening = { penstock_text_of("{}"), &event, 1, penstock_describe(&window->key) };
    penstock_opened opened;
    penstock_ended ended = penstock_open(window, &opening, &opened);
    CHECK(ended.failed && ended.failure == PENSTOCK_BAD_INPUT);
    CHECK(strstr(ended.message.data, "event `ride` has a column `required` of type utf8, but "));
    CHECK(strstr(ended.message.data, "conformance.c:") && strstr(ended.message.data, "declare the member as `penstock_text`"));
    schema.fields[1].name = penstock_text_of("other");
    ended = penstock_open(window, &opening, &opened);
    CHECK(ended.failed && strstr(ended.message.data, "has no column `required`") && strstr(ended.message.data, "`other`"));
    opening.config = penstock_text_of("{\"a\":1}");
    ended = penstock_open(window, &opening, &opened);
    CHECK(ended.failed && ended.failure == PENSTOCK_BAD_CONFIG);
    return 0;
}

static int states_of_older_versions_are_taken_over(void) {
    const penstock_window *window = penstock_the_window();
    const Old old[] = { { 3 }, { 9 } };
    penstock_schema schema = penstock_describe(&MIGRATIONS[0].old);
    penstock_columns columns = penstock_write_all(&MIGRATIONS[0].old, old, 2, NULL), states;
    CHECK(!penstock_migrate(window, 2, &schema, &columns, &states).failed);
    penstock_layout layout;
    penstock_lay_out_own(&window->state, &layout);
    const Last *last = penstock_read_all(&window->state, &layout, &states);
    CHECK(states.rows == 2 && last[1].count == 9 && !last[1].utf8.has);
    CHECK(penstock_migrate(window, 7, &schema, &columns, &states).failed);
    /* An older version that took nulls may have left some. */
    const uint8_t second_is_null = 1;
    const penstock_buffer buffers[] = { { &second_is_null, 1 }, columns.buffers[1] };
    const penstock_columns with_null = { 2, buffers, 2 };
    schema.fields[0].nullable = true;
    const penstock_ended ended = penstock_migrate(window, 1, &schema, &with_null, &states);
    CHECK(ended.failed && ended.failure == PENSTOCK_BAD_INPUT);
    CHECK(strstr(ended.message.data, "the state of version 1 has a null in column `count`, in row 1"));
    return 0;
}

int main(void) {
    if (every_type() || names_and_formats_are_as_declared() || tables_that_leave_something_open_are_refused()) return 1;
    if (nulls_deep_inside_are_named() || misfits_are_named() || states_of_older_versions_are_taken_over()) return 1;
    (void)penstock_the_mapper;
    puts("types: fine");
    return 0;
}
