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

static int every_type(void) {
    const penstock_record record = PENSTOCK_RECORD(Row, ROW);
    for (size_t rows = 0; rows <= ROWS; rows = rows * 3 + 1) {
        Row *made = penstock_allocate_zeros((rows + 1) * sizeof *made);
        for (size_t row = 0; row < rows; row++)
            for (uint32_t column = 0; column < record.count; column++) fill(&ROW[column], (char *)&made[row]);
        penstock_columns columns = penstock_write_all(&record, made, rows, NULL);
        penstock_layout layout = { 0 };
        penstock_lay_out_own(&record, &layout);
        Row *read = penstock_read_all(&record, &layout, &columns);
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

static int misfits_are_named(void) {
    const penstock_window *window = penstock_the_window();
    penstock_schema schema = penstock_describe(&window->row);
    schema.fields[1].format = penstock_text_of("u");
    const penstock_event event = { penstock_text_of("ride"), schema };
    penstock_opening opening = { penstock_text_of("{}"), &event, 1, { NULL, 0 } };
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
    return 0;
}

int main(void) {
    if (every_type() || misfits_are_named() || states_of_older_versions_are_taken_over()) return 1;
    (void)penstock_the_mapper;
    puts("types: fine");
    return 0;
}
