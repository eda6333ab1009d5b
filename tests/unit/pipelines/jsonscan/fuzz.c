/* Feeds the scanner JSON and damaged JSON on exactly sized heap blocks, for the sanitizers to watch.
 * `fuzz ROUNDS SEED`; prints how many records it read and how many texts it refused. Exit 0 = sound. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"

enum { ROOM = 7, MOST = 4096, HARD = 3 };

static uint64_t seed;

static uint64_t below(uint64_t bound)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % bound;
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static char text[MOST];
static size_t length;

static void put(const char *piece)
{
    for (; *piece != '\0' && length < MOST; piece++)
        text[length++] = *piece;
}

static void put_value(int depth)
{
    static const char *const scalars[] = {"null",  "true", "0",       "-0.0",  "12.375", "1e400", "123456789012345678", "\"a\"",
                                          "\"\"", "1e-7", "\"\\u00e9\"", "-1E+5", "99999999999999999999999", "3.14159265358979"};
    const uint64_t kind = depth > 3 ? 9 : below(12);
    if (kind == 0) {
        put("[");
        for (uint64_t n = below(4); n > 0; n--) {
            put_value(depth + 1);
            put(n > 1 ? ", " : "");
        }
        put("]");
    } else if (kind < 3) {
        static const char *const names[] = {"id", "at", "values", "flow", "deep", "x", "", "ids"};
        put("{");
        for (uint64_t n = below(5); n > 0; n--) {
            put("\"");
            put(names[below(sizeof names / sizeof *names)]);
            put("\":");
            put_value(depth + 1);
            put(n > 1 ? "," : "");
        }
        put("}");
    } else
        put(scalars[below(sizeof scalars / sizeof *scalars)]);
}

static void write_text(void)
{
    length = 0;
    for (uint64_t n = below(20); n > 0; n--) {
        put("{\"id\":\"pump\",\"at\":17,\"other\":");
        put_value(0);
        put(",\"values\":");
        if (below(20) == 0)
            put_value(0);
        else
            put(below(2) ? "{\"flow\":1e300,\"deep\":12.5}" : "{\"deep\":0.30000000000000004, \"flow\":null}");
        put(below(2) ? "}\n" : ",\"note\":null}");
    }
    for (uint64_t n = below(3) == 0 ? below(4) : 0; n > 0 && length > 0; n--) {
        const size_t place = below(length);
        if (below(3) == 0)
            length = place;
        else
            text[place] = (char)below(256);
    }
}

static void *block(size_t bytes)
{
    void *memory = malloc(bytes + (bytes == 0));
    CHECK(memory != NULL);
    memset(memory, 0, bytes);
    return memory;
}

int main(int count, char **arguments)
{
    static const tm_scan_field fields[] = {{"", 0, 1, -1, -1},    {"id", 2, -1, 2, 0},  {"at", 2, -1, 3, 1},
                                           {"values", 6, 4, -1, -1}, {"flow", 4, -1, 5, 2}, {"deep", 4, -1, -1, 3}};
    CHECK(count == 3);
    seed = strtoull(arguments[2], NULL, 10);
    unsigned long long records = 0, refused = 0;
    for (long round = strtol(arguments[1], NULL, 10); round > 0; round--) {
        write_text();
        char *data = block(length), *bytes = block(length);
        memcpy(data, text, length);
        int32_t *ends = block((ROOM + 1) * sizeof *ends);
        int64_t *whole = block(ROOM * sizeof *whole);
        double *reals[2] = {block(ROOM * sizeof(double)), block(ROOM * sizeof(double))};
        uint8_t *valid[2] = {block(ROOM), block(ROOM)};
        tm_scan_hard *hard = block((4 + HARD) * sizeof *hard);
        tm_scan_column columns[] = {{TM_SCAN_TEXT, ends, valid[0], bytes},
                                    {TM_SCAN_WHOLE, whole, valid[1], NULL},
                                    {TM_SCAN_REAL, reals[0], NULL, NULL},
                                    {TM_SCAN_REAL, reals[1], NULL, NULL}};
        tm_scan scan = {fields, 6, columns, 4, ROOM, 0, hard, 4 + HARD, 0, round & 1};
        size_t offset = 0;
        tm_scan_end end;
        do {
            const size_t before = offset;
            end = tm_scan_records(&scan, data, length, &offset);
            CHECK(scan.rows <= ROOM && offset <= length && scan.hard_count <= 4 + HARD);
            CHECK(end != TM_SCAN_FULL || offset > before);
            for (size_t i = 0; i < scan.hard_count; i++)
                CHECK(hard[i].offset < length && hard[i].row < scan.rows && hard[i].column >= 2);
            records += scan.rows;
            scan.rows = scan.hard_count = 0;
        } while (end == TM_SCAN_FULL);
        refused += end == TM_SCAN_REFUSED;
        void *blocks[] = {data, bytes, ends, whole, reals[0], reals[1], valid[0], valid[1], hard};
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
            free(blocks[i]);
    }
    printf("%llu records, %llu texts refused\n", records, refused);
    return 0;
}
