/* The pane kernel: mergeable summaries of readings.
 *
 * A pane sums up the readings of one signal of one device in one fixed interval. It holds enough to be merged with its
 * neighbours and to give count, mean, standard deviation, extremes, first, last, trend and energy of the union.
 *
 * All sums are taken about the first reading: its value (`first`) and its time (`first_at`). Raw sums of a counter at
 * 1e8 lose every digit of its noise; about a member of the data the loss stays near the rounding of one addition,
 * because the distances that are squared are never longer than the spread that is asked for. Times are microseconds
 * after the start of the pane; the caller that merges says how much later the right pane starts. A double holds whole
 * microseconds of 285 years exactly, so shifting a time there and back never breaks or makes a tie; float rounds them.
 *
 * Laws (tested): an empty pane changes nothing; grouping does not matter; order of arrival does not matter; merging
 * the parts equals summing up the whole. Where two readings share the earliest (latest) time, `first` is the smaller
 * and `last` the larger value, so that the laws hold there too.
 *
 * One field asks for more: `change` is a sum over neighbours in time. It is right when readings are added by increasing
 * time and panes are merged whose readings do not interleave in time, in whatever grouping. Where that is not so it
 * becomes NaN: whoever needs it sums up the sorted readings again, and nobody is given a wrong number.
 *
 * C99, no allocation, no state, nothing of the standard library but memcpy, NAN, sqrt and fabs. The same source serves in the
 * Python extension (double) and on microcontrollers (compile with -DTM_REAL=float). Do not compile with -ffast-math:
 * missing readings are NaN.
 */
#ifndef TIDEMILL_PANE_H
#define TIDEMILL_PANE_H

#include <stddef.h>
#include <stdint.h>

#ifndef TM_REAL
#define TM_REAL double
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever the fields or their meaning change; panes of different versions must not be merged. */
#define TM_PANE_VERSION 2
#define TM_PANE_FIELDS 15

typedef TM_REAL tm_real;

/* Only tm_real members: an array of panes is a matrix with TM_PANE_FIELDS columns. */
typedef struct {
    tm_real count;       /* readings with a value */
    tm_real nulls;       /* records that lacked the signal */
    tm_real sum;         /* of (x - first) */
    tm_real square;      /* of (x - first)^2 */
    tm_real time;        /* of (t - first_at), microseconds */
    tm_real time_square; /* of (t - first_at)^2 */
    tm_real time_value;  /* of (t - first_at) (x - first) */
    tm_real change;      /* of |x - the reading before it|; NaN when it cannot be known, see below */
    tm_real above;       /* readings above the limit of the signal */
    tm_real low;         /* this and the following are NaN while count is 0 */
    tm_real high;
    tm_real first;
    tm_real first_at; /* microseconds after the start of the pane */
    tm_real last;
    tm_real last_at;
} tm_pane;

/* Makes the pane empty. */
void tm_pane_clear(tm_pane *pane);

/* Adds a reading taken `at` microseconds after the start of the pane, in any order; NaN counts as missing. Readings above
 * `limit` are counted; none is above NaN. */
void tm_pane_add(tm_pane *pane, tm_real at, tm_real value, tm_real limit);

/* Merges `right`, whose pane starts `shift` microseconds after the one of `left` (negative: before), into it. */
void tm_pane_merge(tm_pane *left, const tm_pane *right, tm_real shift);

/* Statistics of a pane: features/statistic.py says what each one is. The order is that of its table. */
typedef enum {
    TM_COUNT,
    TM_MISSING_SHARE,
    TM_MEAN,
    TM_STD,
    TM_MIN,
    TM_MAX,
    TM_RANGE,
    TM_FIRST,
    TM_LAST,
    TM_DELTA,
    TM_SLOPE, /* per hour */
    TM_RMS,
    TM_CREST,
    TM_MEAN_ABSOLUTE_CHANGE,
    TM_ABOVE_SHARE,
    TM_SINCE_LAST, /* hours */
    TM_STATISTICS
} tm_statistic;

/* A statistic of a pane that stands for a window of `window_us` microseconds; NaN where the pane holds too little to say
 * anything, and for a code that is none. */
tm_real tm_pane_statistic(const tm_pane *pane, tm_statistic code, tm_real window_us);

/* Reads statistics off many panes: out[k][i] becomes the statistic codes[k] of panes[i][signal[k]]. `window_us` holds the
 * length of each of the `count` windows, or one for all when `windows` is 1. */
void tm_panes_finalize(const tm_pane *panes, size_t count, size_t signals, const tm_real *window_us, size_t windows,
                       const int64_t *signal, const int64_t *codes, size_t wanted, tm_real *out);

/* Makes each of panes[count][signals] the union of those up to it; times count from the start of the first pane.
 * shift[i] says how much later than the first one pane i starts. */
void tm_panes_accumulate(tm_pane *panes, size_t count, size_t signals, const tm_real *shift);

/* Adds rows of readings to panes.
 *
 * panes    matrix [groups][signals]
 * group    the group of each row
 * at       microseconds after the start of the row's pane
 * values   matrix [rows][signals], NaN = missing
 * limits   the limit of each signal, NaN = none
 *
 * Returns `rows`, or the number of the first row whose group does not exist; then no pane was changed.
 */
size_t tm_panes_add(tm_pane *panes, size_t groups, size_t signals, const int64_t *group, const tm_real *at,
                    const tm_real *values, const tm_real *limits, size_t rows);

/* A column of readings in Arrow's layout: the bit `offset` + row of `validity` (least significant first) is 1 where the
 * row has the reading; without `validity` every row has. NaN counts as missing too. */
typedef struct {
    const tm_real *values;
    const uint8_t *validity;
    size_t offset;
} tm_column;

/* Rows of telemetry by columns: one time for all signals. */
typedef struct {
    const int64_t *times;     /* microseconds */
    const tm_column *columns; /* one a signal */
    const tm_real *limits;    /* one a signal, NaN = none */
    size_t rows;
    size_t signals;
} tm_rows;

/* Runs of rows of one device and one pane. `rising`: the runs come by device, then start, and no pane comes twice.
 * `ordered`: times increase within each run. */
typedef struct {
    size_t count;
    int rising;
    int ordered;
    int32_t first_device, last_device;
    int64_t first_start, last_start;
} tm_runs;

/* Cuts rows into runs. begin[rows + 1] receives the first row of each run and, behind them, `rows`; start[rows] the start
 * of its pane. Panes of `pane_us` microseconds, one or more, are aligned to time 0. */
tm_runs tm_runs_find(const int32_t *device, const int64_t *times, size_t rows, int64_t pane_us, uint32_t *begin,
                     int64_t *start);

/* The panes that runs belong to, numbered by device, then start. */
typedef struct {
    uint32_t *cells;      /* [devices][spans], fewer than 2^32: scratch */
    size_t devices;       /* from first_device to last_device */
    size_t spans;         /* from first_start to last_start */
    uint32_t *group;      /* [runs]: the pane of each run */
    int32_t *pane_device; /* [runs], of each pane */
    int64_t *pane_start;  /* [runs], of each pane */
    int64_t *latest;      /* [runs]: scratch */
} tm_numbering;

/* Numbers the panes of runs. Returns how many there are and says in `ordered` whether times increase from run to run of
 * each pane too. When a run lies outside of `devices` and `spans`, nothing is to be used and the result is 0. */
size_t tm_runs_number(tm_numbering *numbering, const int32_t *device, const int64_t *times, int64_t pane_us,
                      const uint32_t *begin, const int64_t *start, tm_runs *runs);

/* Sums up runs of rows in new panes: panes[runs][signals], one row a run. What was in `panes` is overwritten. */
void tm_runs_sum(tm_pane *panes, const int64_t *pane_start, const tm_rows *rows, const uint32_t *begin, size_t runs);

/* Sums up runs of rows in new panes where a pane has several runs: panes[groups][signals]; `group` is the pane of each
 * run. Works through `block` runs at a time, in scratch[groups + 2 * block]. */
void tm_runs_sum_grouped(tm_pane *panes, const int64_t *pane_start, size_t groups, const tm_rows *rows,
                         const uint32_t *begin, const uint32_t *group, size_t runs, uint32_t *scratch, size_t block);

/* Merges right[i] into left[i]. `shift` holds `count` shifts, or one for all when `shifts` is 1.
 * The arrays may overlap when `right` lies at or behind `left`: panes are read before they are overwritten. */
void tm_panes_merge(tm_pane *left, const tm_pane *right, size_t count, const tm_real *shift, size_t shifts);

/* Merges panes of one start: panes[i][signals] becomes the union of parts[order[j]][signals] for j from begin[i] to
 * begin[i + 1] - 1, taken in that order. */
void tm_panes_fold(tm_pane *panes, size_t groups, size_t signals, const tm_pane *parts, const int64_t *order,
                   const int64_t *begin);

/* ---- Quantiles ----------------------------------------------------------------------------------------------------
 *
 * DDSketch (Masson, Rim, Lee, VLDB 2019): readings are counted in buckets whose width grows with the magnitude. Counts
 * add up, exactly and in any order. The mapping interpolates the logarithm linearly within each octave, from the bits of
 * the number: TM_SKETCH_STEPS buckets an octave, so the middle of a bucket is within 1 / (2 TM_SKETCH_STEPS + 1) of all
 * of it, and C, numpy, double and float choose the same one. TM_SKETCH_SIDE buckets are ten octaves; what is smaller
 * counts as zero.
 *
 * Buckets lie by value: negative ones (where there are any), zero, positive ones. */
#define TM_SKETCH_STEPS 50
#define TM_SKETCH_SIDE (10 * TM_SKETCH_STEPS)

/* The number of the bucket of a magnitude above zero, counted from that of 1; bucket n begins at
 * 2^e (1 + j / TM_SKETCH_STEPS) for n = e TM_SKETCH_STEPS + j. */
int32_t tm_sketch_key(tm_real magnitude);

/* The place of a reading, not NaN, among buckets of which the outermost has the key `top`; `below` of them are for
 * negative readings: TM_SKETCH_SIDE or 0. Readings beyond the range count in the outermost bucket. */
size_t tm_sketch_place(tm_real value, int32_t top, size_t below);

/* Adds the readings of runs of rows to counts[panes][sketches][buckets], one column and one `top` a sketch; `group` is the
 * pane of each run, or NULL when each run is a pane. */
void tm_runs_sketch(uint32_t *counts, size_t buckets, const tm_column *columns, const int32_t *top, size_t sketches,
                    size_t below, const uint32_t *begin, const uint32_t *group, size_t runs);

/* ---- Bursts -------------------------------------------------------------------------------------------------------
 *
 * A burst is samples taken at one rate within one record: a vibration snapshot at kHz. Its statistics become readings
 * of signals, so nothing of it is mergeable and nothing of it is kept.
 *
 * The spectrum is the averaged periodogram of Welch (IEEE Transactions on Audio and Electroacoustics 15, 1967):
 * segments of `segment` samples that overlap by half, each less its mean, Hann window (periodic), one-sided. Samples
 * behind the last whole segment count for the first three statistics alone. Two segments are transformed at once, as
 * real and imaginary part; the sum of both periodograms needs no taking apart.
 */
enum { TM_BURST_RMS, TM_BURST_CREST, TM_BURST_KURTOSIS, TM_BURST_PEAK, TM_BURST_RESULTS };

/* How many numbers of scratch a burst needs. */
#define TM_BURST_SCRATCH(segment) (3 * (size_t)(segment))

/* Computes the statistics of a burst.
 *
 * samples   in the order of time
 * rate      samples per second
 * twiddles  for k < segment / 2 the pairs cos(2 pi k / segment), sin(2 pi k / segment)
 * segment   samples in a segment: a power of two, 4 or more
 * bands     pairs of bins, first and one behind the last; bin k lies at k * rate / segment Hz, the last is segment / 2
 * scratch   TM_BURST_SCRATCH(segment) numbers
 * result    TM_BURST_RESULTS numbers, then the energy in each band:
 *           rms       sqrt(mean(x^2))
 *           crest     max |x| / rms; NaN where rms is 0
 *           kurtosis  m4 / m2^2 of the moments about the mean (Pearson: 3 for noise); NaN where all samples are equal
 *           peak      Hz of the largest density above 0 Hz; NaN where there is none
 *           energy    the density summed up over the bins, times their distance: the mean square of x in the band
 *
 * Returns `count`, or 0 where the segment, a band or a burst shorter than a segment is refused; then nothing was written.
 * A NaN among the samples makes every statistic of its segments NaN, but never reads or writes out of bounds. */
size_t tm_burst(const tm_real *samples, size_t count, tm_real rate, const tm_real *twiddles, size_t segment,
                const int64_t *bands, size_t band_count, tm_real *scratch, tm_real *result);

/* ---------------------------------------------------------------------------------------------------------------------
 * Stream: readings of many devices in the order they arrive, summed up in a ring of panes per device.
 *
 * The watermark of a device is its newest time less the lateness. Panes that end at or before it are closed: their
 * readings are late. Windows end at multiples of the step; the caller emits those the watermark has passed and notes in
 * TM_MARK_EMITTED up to where it did. A pane whose place in the ring is taken again is one no window to come needs.
 * Times of open panes are kept, sorted, so that a reading that was seen before is told apart exactly. Every reading is
 * summed up at once. Where panes need their readings in the order of time (`held`), readings are kept beside their times:
 * a pane that got them in another order, as the NaN of its `change` tells, is summed up anew when it closes.
 */

/* What is noted of each device; times in microseconds, TM_NEVER where there was none. */
enum {
    TM_MARK_FIRST,   /* start of the first pane */
    TM_MARK_NEWEST,  /* latest time */
    TM_MARK_CLOSED,  /* panes that start before it are closed */
    TM_MARK_EMITTED, /* windows that end at or before it were emitted */
    TM_MARK_OPEN,    /* times kept of open panes */
    TM_MARK_PANE,    /* start of the pane written last, */
    TM_MARK_SLOT,    /* and its place in the ring */
    TM_MARK_DUE,     /* 1 when the watermark has passed the end of a window that was not emitted */
    TM_MARKS
};

/* What became of readings that were not summed up, and how many devices are due. */
enum {
    TM_TALLY_LATE,
    TM_TALLY_DUPLICATE,
    TM_TALLY_CROWDED, /* more readings in open panes of one device than are kept apart */
    TM_TALLY_REFUSED, /* of devices numbered below zero */
    TM_TALLY_DUE,
    TM_TALLIES
};

#define TM_NEVER (INT64_MIN / 2)
#define TM_FARTHEST (INT64_MAX / 4) /* times lie within it on both sides; 73,000 years */

typedef struct {
    size_t devices;
    size_t panes; /* of a ring; they hold the longest window and the lateness, and leave room for readings to come */
    size_t signals;
    size_t capacity;  /* times kept of a device */
    size_t most_open; /* what the caller would let the capacity grow to */
    int64_t pane_us;
    int64_t every_us; /* whole panes from one window to the next */
    int64_t lateness_us;
    int64_t room_us; /* how far behind TM_MARK_EMITTED lies the first pane that takes the place of one still needed */
    tm_pane *state;  /* [devices][panes][signals] */
    int64_t *start;  /* [devices][panes], TM_NEVER where the ring holds nothing */
    int64_t *marks;  /* [devices][TM_MARKS] */
    int64_t *seen;   /* [devices][capacity], the first TM_MARK_OPEN of them in use, increasing */
    tm_real *held;   /* [devices][capacity][signals], the readings of `seen`; NULL when their order does not matter */
    const tm_real *limits;
    int64_t *tally;          /* [TM_TALLIES] */
    size_t sketches;         /* signals whose readings are also counted in sketches */
    size_t below;            /* buckets for negative readings: TM_SKETCH_SIDE or 0 */
    uint32_t *counts;        /* [devices][panes][sketches][below + 1 + TM_SKETCH_SIDE] */
    const int32_t *sketched; /* [sketches]: the signal of each */
    const int32_t *top;      /* [sketches]: the key of its outermost bucket */
} tm_stream;

/* Takes rows in the order of their arrival. Returns `rows`, or the number of the first row that has to wait: when a
 * device is due, until its windows are emitted; otherwise until the capacity is twice what it was. Rows before it have
 * been taken. Devices must exist and times lie within TM_FARTHEST: see tm_stream_misfit. */
size_t tm_stream_take(const tm_stream *stream, const int32_t *device, const int64_t *time, const tm_real *values,
                      size_t rows);

/* Returns `rows`, or the number of the first row of a device that does not exist or a time beyond all calendars. */
size_t tm_stream_misfit(const tm_stream *stream, const int32_t *device, const int64_t *time, size_t rows);

#ifdef __cplusplus
}
#endif

#endif
