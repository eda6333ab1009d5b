/* Runs the pane kernel over random readings on exactly sized heap blocks, for the sanitizers to watch. Exit 0 = sound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "pane.h"

enum { GROUPS = 7, SIGNALS = 3, ROWS = 997 };

static uint64_t seed = 2026;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 9007199254740992.0;
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Bursts of every length and segment, in blocks that are exactly as long as the header says. */
static void run_bursts(void)
{
    for (size_t segment = 4; segment <= 256; segment *= 4)
        for (size_t count = segment; count < 3 * segment + 3; count += 1 + segment / 16) {
            tm_real *samples = malloc(count * sizeof *samples), *twiddles = malloc(segment * sizeof *twiddles);
            tm_real *scratch = malloc(TM_BURST_SCRATCH(segment) * sizeof *scratch);
            tm_real *result = malloc((TM_BURST_RESULTS + 2) * sizeof *result);
            int64_t bands[4] = {0, (int64_t)segment / 2 + 1, 1, 1};
            for (size_t i = 0; i < count; i++)
                samples[i] = (tm_real)(uniform() - 0.5);
            for (size_t k = 0; k < segment; k++)
                twiddles[k] = (tm_real)(k % 2 ? sin(acos(-1.0) * (double)(k - 1) / (double)segment)
                                              : cos(acos(-1.0) * (double)k / (double)segment));
            CHECK(tm_burst(samples, count, 100, twiddles, segment, bands, 2, scratch, result) == count);
            CHECK(result[TM_BURST_RMS] > 0 && result[TM_BURST_CREST] > 1 && result[TM_BURST_KURTOSIS] >= 1);
            CHECK(result[TM_BURST_PEAK] > 0 && result[TM_BURST_PEAK] <= 50);
            CHECK(result[TM_BURST_RESULTS] > 0 && result[TM_BURST_RESULTS + 1] == 0);
            CHECK(tm_burst(samples, segment - 1, 100, twiddles, segment, bands, 2, scratch, result) == 0);
            CHECK(tm_burst(samples, count, 100, twiddles, segment - 1, bands, 2, scratch, result) == 0);
            bands[1]++;
            CHECK(tm_burst(samples, count, 100, twiddles, segment, bands, 2, scratch, result) == 0);
            samples[count / 2] = (tm_real)NAN;
            CHECK(tm_burst(samples, count, 100, twiddles, segment, bands, 0, scratch, result) == count);
            free(samples), free(twiddles), free(scratch), free(result);
        }
}

/* Streams rows of three devices through rings on exactly sized blocks: forwards, backwards, twice, far ahead. */
static void stream(int ordered)
{
    enum { DEVICES = 3, PANES = 7, CAPACITY = 8 };
    tm_stream s = {.devices = DEVICES, .panes = PANES, .signals = SIGNALS, .capacity = CAPACITY, .most_open = CAPACITY,
                   .pane_us = 10, .every_us = 20, .lateness_us = 15, .room_us = PANES * 10 + 20 - 40};
    tm_real *limits = malloc(SIGNALS * sizeof *limits);
    s.state = malloc(DEVICES * PANES * SIGNALS * sizeof *s.state);
    s.start = malloc(DEVICES * PANES * sizeof *s.start);
    s.marks = calloc(DEVICES * TM_MARKS, sizeof *s.marks);
    s.seen = malloc(DEVICES * CAPACITY * sizeof *s.seen);
    s.held = ordered ? malloc(DEVICES * CAPACITY * SIGNALS * sizeof *s.held) : NULL;
    s.tally = calloc(TM_TALLIES, sizeof *s.tally);
    const int32_t sketched[2] = {SIGNALS - 1, 0}, top[2] = {300, -50000};
    const size_t buckets = 1 + (1 + (size_t)ordered) * TM_SKETCH_SIDE;
    s.sketches = 2, s.sketched = sketched, s.top = top, s.below = ordered ? TM_SKETCH_SIDE : 0;
    s.counts = malloc(DEVICES * PANES * 2 * buckets * sizeof *s.counts);
    s.limits = limits;
    for (size_t i = 0; i < SIGNALS; i++)
        limits[i] = (tm_real)50.5;
    for (size_t i = 0; i < DEVICES * PANES; i++)
        s.start[i] = TM_NEVER;
    for (size_t d = 0; d < DEVICES; d++)
        s.marks[d * TM_MARKS + TM_MARK_FIRST] = s.marks[d * TM_MARKS + TM_MARK_NEWEST] =
            s.marks[d * TM_MARKS + TM_MARK_CLOSED] = s.marks[d * TM_MARKS + TM_MARK_EMITTED] =
                s.marks[d * TM_MARKS + TM_MARK_PANE] = TM_NEVER;
    int32_t *device = malloc(ROWS * sizeof *device);
    int64_t *time = malloc(ROWS * sizeof *time), now = -500;
    tm_real *values = malloc(ROWS * SIGNALS * sizeof *values);
    for (size_t row = 0; row < ROWS; row++) {
        now += uniform() < 0.01 ? 1000 : (int64_t)(uniform() * 4);
        device[row] = (int32_t)(uniform() * (DEVICES + 1)) - 1;
        time[row] = now - (int64_t)(uniform() * 30);
        for (size_t i = 0; i < SIGNALS; i++)
            values[row * SIGNALS + i] = uniform() < 0.1 ? (tm_real)NAN : (tm_real)(50 + uniform());
    }
    CHECK(tm_stream_misfit(&s, device, time, ROWS) == ROWS);
    size_t row = 0, stops = 0;
    while ((row += tm_stream_take(&s, device + row, time + row, values + row * SIGNALS, ROWS - row)) < ROWS) {
        CHECK(s.tally[TM_TALLY_DUE] > 0 && ++stops < ROWS);
        for (size_t d = 0; d < DEVICES; d++)
            if (s.marks[d * TM_MARKS + TM_MARK_DUE]) {
                const int64_t passed = s.marks[d * TM_MARKS + TM_MARK_NEWEST] - 15 + 1000000;
                s.marks[d * TM_MARKS + TM_MARK_EMITTED] = passed / 20 * 20 - 1000000;
                s.marks[d * TM_MARKS + TM_MARK_DUE] = 0;
            }
        s.tally[TM_TALLY_DUE] = 0;
    }
    CHECK(stops > 9 && s.tally[TM_TALLY_LATE] > 0 && s.tally[TM_TALLY_DUPLICATE] > 0);
    CHECK(s.tally[TM_TALLY_CROWDED] > 0 && s.tally[TM_TALLY_REFUSED] > 0);
    size_t closed = 0, torn = 0; /* panes that hold readings, and those of them that do not know their changes */
    for (size_t pane = 0; pane < DEVICES * PANES; pane++)
        if (s.start[pane] != TM_NEVER && s.start[pane] < s.marks[pane / PANES * TM_MARKS + TM_MARK_CLOSED])
            for (size_t i = 0; i < SIGNALS; i++) {
                const tm_pane *one = s.state + pane * SIGNALS + i;
                CHECK(one->count + one->nulls > 0 && one->count + one->nulls <= 10);
                closed++, torn += one->change != one->change;
                size_t counted = 0;
                for (size_t b = 0; i < 2 && b < buckets; b++)
                    counted += s.counts[(pane * 2 + i) * buckets + b];
                CHECK(i > 1 || (tm_real)counted == s.state[pane * SIGNALS + (size_t)sketched[i]].count);
            }
    CHECK(closed > SIGNALS && (ordered ? torn == 0 : torn > 0));
    device[3] = DEVICES;
    CHECK(tm_stream_misfit(&s, device, time, ROWS) == 3);
    time[2] = INT64_MIN;
    CHECK(tm_stream_misfit(&s, device, time, ROWS) == 2);
    free(limits), free(s.state), free(s.start), free(s.marks), free(s.seen), free(s.held), free(s.tally);
    free(s.counts);
    free(device), free(time), free(values);
}

int main(void)
{
    run_bursts();
    tm_pane *panes = malloc(GROUPS * SIGNALS * sizeof *panes);
    int64_t *group = malloc(ROWS * sizeof *group);
    tm_real *at = malloc(ROWS * sizeof *at), *values = malloc(ROWS * SIGNALS * sizeof *values);
    tm_real *shift = malloc(GROUPS * SIGNALS * sizeof *shift);
    const tm_real limits[SIGNALS] = {(tm_real)50.5, (tm_real)NAN, 0};
    double sum = 0, low = 1e9;
    size_t count = 0;
    for (size_t i = 0; i < GROUPS * SIGNALS; i++) {
        tm_pane_clear(panes + i);
        shift[i] = (tm_real)(600 * (i / SIGNALS));
    }
    for (size_t row = 0; row < ROWS; row++) {
        group[row] = (int64_t)(uniform() * GROUPS);
        at[row] = (tm_real)floor(uniform() * 600);
        for (size_t s = 0; s < SIGNALS; s++)
            values[row * SIGNALS + s] = uniform() < 0.1 ? (tm_real)NAN : (tm_real)(50 + uniform());
        if (!isnan((double)values[row * SIGNALS])) {
            count++;
            sum += (double)values[row * SIGNALS];
            low = fmin(low, (double)values[row * SIGNALS]);
        }
    }
    CHECK(tm_panes_add(panes, GROUPS, SIGNALS, group, at, values, limits, ROWS) == ROWS);

    group[5] = GROUPS;
    CHECK(tm_panes_add(panes, GROUPS, SIGNALS, group, at, values, limits, ROWS) == 5);
    group[5] = -1;
    CHECK(tm_panes_add(panes, GROUPS, SIGNALS, group, at, values, limits, ROWS) == 5);
    CHECK(tm_panes_add(panes, GROUPS, SIGNALS, group, at, values, limits, 0) == 0);

    tm_pane whole[SIGNALS];
    for (size_t s = 0; s < SIGNALS; s++)
        tm_pane_clear(whole + s);
    for (size_t g = GROUPS; g-- > 0;)
        for (size_t s = 0; s < SIGNALS; s++)
            tm_pane_merge(whole + s, panes + g * SIGNALS + s, shift[g * SIGNALS + s]);
    CHECK(whole[0].count == (tm_real)count);
    CHECK(whole[0].count + whole[0].nulls == ROWS);
    CHECK(whole[0].above > 0 && whole[0].above < whole[0].count);
    CHECK(whole[1].above == 0 && whole[2].above == whole[2].count);
    CHECK(isnan((double)whole[0].change)); /* the readings came in no order */
    CHECK((double)whole[0].low == low);
    CHECK(fabs((double)tm_pane_statistic(whole, TM_MEAN, 0) - sum / (double)count) < 1e-3);
    CHECK(tm_pane_statistic(whole, TM_STD, 0) > 0 && tm_pane_statistic(whole, TM_RMS, 0) > 50);
    CHECK(!isnan((double)tm_pane_statistic(whole, TM_SLOPE, 0)));

    tm_panes_merge(panes, panes + SIGNALS, (GROUPS - 1) * SIGNALS, shift, 1); /* overlapping, ahead */
    tm_panes_merge(panes, panes, GROUPS * SIGNALS, shift, GROUPS * SIGNALS);  /* with itself, a shift each */
    tm_pane_clear(whole);
    for (int code = TM_MISSING_SHARE; code <= TM_STATISTICS; code++)
        CHECK(isnan((double)tm_pane_statistic(whole, (tm_statistic)code, 600)));

    free(panes), free(group), free(at), free(values), free(shift);
    stream(0);
    stream(1);
    return 0;
}
