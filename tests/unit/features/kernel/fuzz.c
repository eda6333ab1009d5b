/* Feeds the columnar entries of the kernel what no fleet sends, on exactly sized heap blocks, for the sanitizers to watch.
 * `fuzz ROUNDS SEED`; prints how many rows and readings it went through. Exit 0 = sound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "pane.h"

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

static tm_real odd_number(void)
{
    const tm_real odd[] = {(tm_real)NAN, (tm_real)INFINITY, -(tm_real)INFINITY, 0, -(tm_real)0.0, (tm_real)1e-40, (tm_real)3e38};
    const uint64_t kind = below(40);
    if (kind < sizeof odd / sizeof *odd)
        return odd[kind];
    return (tm_real)((kind < 20 ? 1e9 : 0.0) + (double)below(1000) / 10.0);
}

static int64_t odd_time(int64_t before, int64_t pane_us)
{
    switch (below(60)) {
    case 0:
        return INT64_MIN + (int64_t)below(9);
    case 1:
        return INT64_MAX - (int64_t)below(9);
    case 2:
        return before;
    case 3:
        return (int64_t)below(1000000) - 500000;
    default:
        return before > INT64_MAX - 2 * pane_us ? 0 : before + (int64_t)below((uint64_t)pane_us / 3 + 2);
    }
}

/* An empty block still has an address of its own, so that nothing may be read at it. */
static void *block(size_t count, size_t size)
{
    void *memory = malloc(count * size + (count == 0));
    CHECK(memory != NULL);
    return memory;
}

static size_t one_round(void)
{
    const size_t rows = below(8) == 0 ? 0 : below(below(3) == 0 ? 3000 : 70), signals = below(4);
    const int64_t pane_us = (int64_t)below(5000) + 1;
    int32_t *device = block(rows, sizeof *device);
    int64_t *times = block(rows, sizeof *times), *start = block(rows, sizeof *start);
    uint32_t *begin = block(rows + 1, sizeof *begin);
    tm_column columns[4];
    tm_real *limits = block(signals, sizeof *limits);
    const int by_device = (int)below(2);
    int64_t time = 0;
    for (size_t row = 0; row < rows; row++) {
        device[row] = by_device ? (int32_t)(row * 5 / rows) : (int32_t)below(5) - 2;
        times[row] = time = odd_time(time, pane_us);
    }
    for (size_t s = 0; s < signals; s++) {
        tm_real *values = block(rows, sizeof *values);
        for (size_t row = 0; row < rows; row++)
            values[row] = odd_number();
        columns[s] = (tm_column){values, NULL, below(70)};
        if (below(3) > 0) {
            const size_t bytes = (columns[s].offset + rows + 7) / 8;
            uint8_t *validity = block(bytes, 1);
            for (size_t i = 0; i < bytes; i++)
                validity[i] = below(4) == 0 ? (uint8_t)below(256) : 255;
            columns[s].validity = validity;
        }
        limits[s] = odd_number();
    }
    const tm_rows table = {times, columns, limits, rows, signals};
    tm_runs runs = tm_runs_find(device, times, rows, pane_us, begin, start);
    CHECK(begin[runs.count] == rows && (rows == 0) == (runs.count == 0));

    tm_pane *panes = block(runs.count * signals, sizeof *panes);
    tm_runs_sum(panes, start, &table, begin, runs.count);
    for (size_t s = 0; s < signals; s++) {
        double seen = 0;
        for (size_t run = 0; run < runs.count; run++)
            seen += (double)panes[run * signals + s].count + (double)panes[run * signals + s].nulls;
        CHECK(seen == (double)rows);
    }

    const size_t devices = (size_t)((int64_t)runs.last_device - runs.first_device) + 1;
    const uint64_t spans = ((uint64_t)runs.last_start - (uint64_t)runs.first_start) / (uint64_t)pane_us + 1;
    if (spans > 0 && spans < 20000) {
        tm_numbering numbering = {block(devices * spans, 4), devices, spans, block(runs.count, 4),
                                  block(runs.count, 4), block(runs.count, 8), block(runs.count, 8)};
        const size_t groups = tm_runs_number(&numbering, device, times, pane_us, begin, start, &runs);
        CHECK(groups <= runs.count && (groups == 0) == (runs.count == 0));
        const size_t at_once = below(50) + 1;
        uint32_t *scratch = block(groups + 2 * at_once, sizeof *scratch);
        tm_pane *grouped = block(groups * signals, sizeof *grouped);
        tm_runs_sum_grouped(grouped, numbering.pane_start, groups, &table, begin, numbering.group, runs.count, scratch,
                            at_once);
        const size_t buckets = 1 + 2 * TM_SKETCH_SIDE;
        uint32_t *counts = calloc(groups * signals * buckets + 1, sizeof *counts);
        const int32_t top[4] = {0, 55000, -55000, 499};
        tm_runs_sketch(counts, buckets, columns, top, signals, TM_SKETCH_SIDE, begin, numbering.group, runs.count);
        for (size_t s = 0; s < signals; s++) {
            double readings = 0, counted = 0, together = 0;
            for (size_t g = 0; g < groups; g++) {
                together += (double)grouped[g * signals + s].count;
                for (size_t b = 0; b < buckets; b++)
                    counted += counts[(g * signals + s) * buckets + b];
            }
            for (size_t run = 0; run < runs.count; run++)
                readings += (double)panes[run * signals + s].count;
            CHECK(readings == together && readings == counted);
        }
        numbering.spans -= 1; /* wrong groups: refused, or the last span is not used */
        tm_runs_number(&numbering, device, times, pane_us, begin, start, &runs);
        free(numbering.cells), free(numbering.group), free(numbering.pane_device), free(numbering.pane_start);
        free(numbering.latest), free(scratch), free(grouped), free(counts);
    }

    int64_t *signal = block(TM_STATISTICS, 8), *codes = block(TM_STATISTICS, 8);
    tm_real *out = block(TM_STATISTICS * runs.count, sizeof *out), *shift = block(runs.count, sizeof *shift);
    for (int code = 0; code < TM_STATISTICS && signals > 0; code++)
        signal[code] = (int64_t)below(signals), codes[code] = code;
    for (size_t run = 0; run < runs.count; run++)
        shift[run] = odd_number();
    const tm_real window = odd_number();
    tm_panes_finalize(panes, runs.count, signals, &window, 1, signal, codes, signals > 0 ? TM_STATISTICS : 0, out);
    tm_panes_accumulate(panes, runs.count, signals, shift);
    if (runs.count > 0) {
        int64_t *order = block(runs.count, 8), cut[2] = {0, (int64_t)runs.count};
        for (size_t run = 0; run < runs.count; run++)
            order[run] = (int64_t)below(runs.count);
        tm_pane *whole = block(signals, sizeof *whole);
        tm_panes_fold(whole, 1, signals, panes, order, cut);
        free(order), free(whole);
    }
    for (size_t s = 0; s < signals; s++)
        free((void *)(uintptr_t)columns[s].values), free((void *)(uintptr_t)columns[s].validity);
    free(device), free(times), free(start), free(begin), free(limits), free(panes), free(signal), free(codes), free(out);
    free(shift);
    return rows;
}

int main(int count, char **arguments)
{
    CHECK(count == 3);
    const long rounds = atol(arguments[1]);
    size_t rows = 0;
    seed = (uint64_t)atol(arguments[2]);
    for (long round = 0; round < rounds; round++)
        rows += one_round();
    printf("%ld rounds, %zu rows of 0 to 3 signals\n", rounds, rows);
    return 0;
}
