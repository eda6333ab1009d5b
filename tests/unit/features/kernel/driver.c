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
    return 0;
}
