/* See pane.h for what a pane is and which laws hold. */
#include "pane.h"

#include <math.h>
#include <string.h>

void tm_pane_clear(tm_pane *pane)
{
    const tm_real nothing = (tm_real)NAN;
    const tm_pane empty = {0, 0, 0, 0, 0, 0, 0, 0, 0, nothing, nothing, nothing, nothing, nothing, nothing};
    memcpy(pane, &empty, sizeof empty);
}

/* Moves the origin of the sums to an earlier (or equal) first reading that is not one of them yet. */
static void move_origin(tm_pane *pane, tm_real first_at, tm_real first)
{
    const tm_real dt = pane->first_at - first_at;
    const tm_real dx = pane->first - first;

    pane->time_value += dt * pane->sum + dx * pane->time + pane->count * dt * dx;
    pane->time_square += dt * (2 * pane->time + pane->count * dt);
    pane->time += pane->count * dt;
    pane->square += dx * (2 * pane->sum + pane->count * dx);
    pane->sum += pane->count * dx;
    pane->first_at = first_at;
    pane->first = first;
}

static int is_before(tm_real at, tm_real value, tm_real other_at, tm_real other)
{
    return at < other_at || (at == other_at && value < other);
}

static tm_real distance(tm_real a, tm_real b)
{
    return a < b ? b - a : a - b;
}

void tm_pane_add(tm_pane *pane, tm_real at, tm_real value, tm_real limit)
{
    if (value != value) {
        pane->nulls += 1;
        return;
    }
    pane->above += value > limit;
    if (pane->count == 0) {
        pane->first = pane->last = pane->low = pane->high = value;
        pane->first_at = pane->last_at = at;
        pane->count = 1;
        return;
    }
    if (is_before(at, value, pane->first_at, pane->first))
        move_origin(pane, at, value);

    const tm_real t = at - pane->first_at;
    const tm_real x = value - pane->first;
    pane->count += 1;
    pane->sum += x;
    pane->square += x * x;
    pane->time += t;
    pane->time_square += t * t;
    pane->time_value += t * x;
    if (value < pane->low)
        pane->low = value;
    if (value > pane->high)
        pane->high = value;
    if (is_before(at, value, pane->last_at, pane->last)) {
        pane->change = (tm_real)NAN;
    } else {
        pane->change += distance(value, pane->last);
        pane->last = value;
        pane->last_at = at;
    }
}

/* The sum of changes over the union of two panes; NaN when their readings interleave. */
static tm_real change_of_union(const tm_pane *a, const tm_pane *b)
{
    if (!is_before(b->first_at, b->first, a->last_at, a->last))
        return a->change + b->change + distance(b->first, a->last);
    if (!is_before(a->first_at, a->first, b->last_at, b->last))
        return a->change + b->change + distance(a->first, b->last);
    return (tm_real)NAN;
}

void tm_pane_merge(tm_pane *left, const tm_pane *right, tm_real shift)
{
    if (right->count == 0) {
        left->nulls += right->nulls;
        return;
    }
    tm_pane other = *right;
    other.first_at += shift;
    other.last_at += shift;
    if (left->count == 0) {
        other.nulls += left->nulls;
        *left = other;
        return;
    }
    left->change = change_of_union(left, &other);
    if (is_before(other.first_at, other.first, left->first_at, left->first))
        move_origin(left, other.first_at, other.first);
    else
        move_origin(&other, left->first_at, left->first);

    left->count += other.count;
    left->nulls += other.nulls;
    left->sum += other.sum;
    left->square += other.square;
    left->time += other.time;
    left->time_square += other.time_square;
    left->time_value += other.time_value;
    left->above += other.above;
    if (other.low < left->low)
        left->low = other.low;
    if (other.high > left->high)
        left->high = other.high;
    if (is_before(left->last_at, left->last, other.last_at, other.last)) {
        left->last = other.last;
        left->last_at = other.last_at;
    }
}

static tm_real ratio(tm_real above, tm_real below)
{
    return below > 0 ? above / below : (tm_real)NAN;
}

static tm_real root(tm_real square)
{
    /* Rounding can leave a constant signal a hair below zero; NaN stays NaN. */
    return (tm_real)sqrt(square < 0 ? 0.0 : (double)square);
}

tm_real tm_pane_mean(const tm_pane *pane)
{
    return pane->first + ratio(pane->sum, pane->count);
}

tm_real tm_pane_std(const tm_pane *pane)
{
    return root(ratio(pane->square - ratio(pane->sum * pane->sum, pane->count), pane->count - 1));
}

tm_real tm_pane_slope(const tm_pane *pane)
{
    const tm_real spread = pane->count * pane->time_square - pane->time * pane->time;
    return ratio(pane->count * pane->time_value - pane->time * pane->sum, spread) * (tm_real)3.6e9;
}

tm_real tm_pane_rms(const tm_pane *pane)
{
    const tm_real about_first = pane->square + 2 * pane->first * pane->sum;
    return root(pane->first * pane->first + ratio(about_first, pane->count));
}

size_t tm_panes_add(tm_pane *panes, size_t groups, size_t signals, const int64_t *group, const tm_real *at,
                    const tm_real *values, const tm_real *limits, size_t rows)
{
    for (size_t row = 0; row < rows; row++)
        if (group[row] < 0 || (uint64_t)group[row] >= groups)
            return row;
    for (size_t row = 0; row < rows; row++) {
        tm_pane *pane = panes + (size_t)group[row] * signals;
        const tm_real *value = values + row * signals;
        for (size_t signal = 0; signal < signals; signal++)
            tm_pane_add(pane + signal, at[row], value[signal], limits[signal]);
    }
    return rows;
}

void tm_panes_merge(tm_pane *left, const tm_pane *right, size_t count, const tm_real *shift, size_t shifts)
{
    for (size_t i = 0; i < count; i++)
        tm_pane_merge(left + i, right + i, shift[shifts == 1 ? 0 : i]);
}

/* ---- Bursts ---- */

enum { LANES = 8 }; /* sums side by side: quicker, and in float an eighth of the rounding */

static tm_real folded(const tm_real *lanes)
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* The mean of x - x[0]: exactly zero where all samples are equal. */
static tm_real mean_about_first(const tm_real *samples, size_t count)
{
    tm_real lanes[LANES] = {0};
    for (size_t i = 0; i < count; i++)
        lanes[i % LANES] += samples[i] - samples[0];
    return folded(lanes) / (tm_real)count;
}

static void burst_shape(const tm_real *samples, size_t count, tm_real *result)
{
    const tm_real mean = mean_about_first(samples, count);
    tm_real energy[LANES] = {0}, square[LANES] = {0}, fourth[LANES] = {0};
    tm_real highest = 0;
    for (size_t i = 0; i < count; i++) {
        const tm_real magnitude = distance(samples[i], 0);
        const tm_real x = (samples[i] - samples[0]) - mean;
        highest = magnitude > highest ? magnitude : highest;
        energy[i % LANES] += samples[i] * samples[i];
        square[i % LANES] += x * x;
        fourth[i % LANES] += (x * x) * (x * x);
    }
    const tm_real spread = folded(square);
    result[TM_BURST_RMS] = root(folded(energy) / (tm_real)count);
    result[TM_BURST_CREST] = ratio(highest, result[TM_BURST_RMS]);
    result[TM_BURST_KURTOSIS] = ratio(folded(fourth) * (tm_real)count, spread * spread);
}

/* Discrete Fourier transform of `segment` complex numbers that lie in bit-reversed order: Cooley and Tukey, radix 2. */
static void transform(tm_real *z, const tm_real *twiddles, size_t segment)
{
    for (size_t half = 1, stride = segment / 2; half < segment; half *= 2, stride /= 2)
        for (size_t block = 0; block < segment; block += 2 * half)
            for (size_t k = 0; k < half; k++) {
                const tm_real cosine = twiddles[2 * k * stride], sine = twiddles[2 * k * stride + 1];
                tm_real *low = z + 2 * (block + k), *high = low + 2 * half;
                const tm_real real = cosine * high[0] + sine * high[1];
                const tm_real imaginary = cosine * high[1] - sine * high[0];
                high[0] = low[0] - real;
                high[1] = low[1] - imaginary;
                low[0] += real;
                low[1] += imaginary;
            }
}

/* Writes a segment, less its mean and under the Hann window, to every second number of `z`, in bit-reversed order. */
static void load_segment(const tm_real *samples, const tm_real *twiddles, size_t segment, tm_real *z)
{
    const tm_real mean = mean_about_first(samples, segment);
    for (size_t i = 0, reversed = 0; i < segment; i++) {
        const tm_real cosine = i < segment / 2 ? twiddles[2 * i] : -twiddles[2 * i - segment];
        z[2 * reversed] = ((samples[i] - samples[0]) - mean) * (tm_real)0.5 * (1 - cosine);
        size_t bit = segment / 2;
        for (; bit > 0 && (reversed & bit) != 0; bit /= 2)
            reversed ^= bit;
        reversed |= bit;
    }
}

/* Fills `energy` with the mean square in each of the segment / 2 + 1 bins. */
static void burst_spectrum(const tm_real *samples, size_t count, const tm_real *twiddles, size_t segment, tm_real *z,
                           tm_real *energy)
{
    const size_t segments = (count - segment) / (segment / 2) + 1, last = segment / 2;
    /* The squares of the window add up to 3/8 of its length. A pair of bins k and N - k holds both segments twice over;
     * one-sided bins count double but for the first and the last. */
    const tm_real share = 1 / ((tm_real)0.375 * (tm_real)segment * (tm_real)segment * (tm_real)segments);
    for (size_t k = 0; k <= last; k++)
        energy[k] = 0;
    for (size_t s = 0; s < segments; s += 2) {
        load_segment(samples + s * last, twiddles, segment, z);
        if (s + 1 < segments)
            load_segment(samples + (s + 1) * last, twiddles, segment, z + 1);
        else
            for (size_t i = 0; i < segment; i++)
                z[2 * i + 1] = 0;
        transform(z, twiddles, segment);
        for (size_t k = 0; k <= last; k++) {
            const tm_real *here = z + 2 * k, *mirrored = z + 2 * ((segment - k) % segment);
            const tm_real both = here[0] * here[0] + here[1] * here[1] + mirrored[0] * mirrored[0] + mirrored[1] * mirrored[1];
            energy[k] += (k == 0 || k == last ? both / 2 : both) * share;
        }
    }
}

size_t tm_burst(const tm_real *samples, size_t count, tm_real rate, const tm_real *twiddles, size_t segment,
                const int64_t *bands, size_t band_count, tm_real *scratch, tm_real *result)
{
    const int64_t bins = (int64_t)(segment / 2 + 1);
    if (segment < 4 || (segment & (segment - 1)) != 0 || count < segment)
        return 0;
    for (size_t b = 0; b < band_count; b++)
        if (bands[2 * b] < 0 || bands[2 * b] > bands[2 * b + 1] || bands[2 * b + 1] > bins)
            return 0;

    tm_real *energy = scratch + 2 * segment;
    burst_shape(samples, count, result);
    burst_spectrum(samples, count, twiddles, segment, scratch, energy);
    int64_t peak = 0;
    tm_real most = 0;
    for (int64_t k = 1; k < bins; k++)
        if (energy[k] > most) {
            most = energy[k];
            peak = k;
        }
    result[TM_BURST_PEAK] = peak > 0 ? (tm_real)peak * rate / (tm_real)segment : (tm_real)NAN;
    for (size_t b = 0; b < band_count; b++) {
        tm_real sum = 0;
        for (int64_t k = bands[2 * b]; k < bands[2 * b + 1]; k++)
            sum += energy[k];
        result[TM_BURST_RESULTS + b] = sum;
    }
    return count;
}

/* --------------------------------------------------------------------------------------------------------- Stream */

#if defined(__GNUC__)
#define TM_PREFETCH(address) __builtin_prefetch(address, 1)
#else
#define TM_PREFETCH(address) (void)(address)
#endif

enum { TM_AHEAD = 4 }; /* rows whose panes are asked for before their turn: each lies elsewhere in memory */

static int64_t floor_to(int64_t time, int64_t unit)
{
    const int64_t rest = time % unit;
    return time - (rest < 0 ? rest + unit : rest);
}

/* The panes a time belongs to, emptied when their place in the ring was another's. */
static tm_pane *panes_at(const tm_stream *stream, size_t device, int64_t time)
{
    int64_t *marks = stream->marks + device * TM_MARKS;
    tm_pane *ring = stream->state + device * stream->panes * stream->signals;
    if (time < marks[TM_MARK_PANE] || time - marks[TM_MARK_PANE] >= stream->pane_us) {
        const int64_t start = floor_to(time, stream->pane_us);
        const int64_t number = start / stream->pane_us, length = (int64_t)stream->panes;
        const int64_t slot = number % length < 0 ? number % length + length : number % length;
        int64_t *held = stream->start + device * stream->panes + slot;
        marks[TM_MARK_PANE] = start;
        marks[TM_MARK_SLOT] = slot;
        if (*held != start) {
            for (size_t signal = 0; signal < stream->signals; signal++)
                tm_pane_clear(ring + (size_t)slot * stream->signals + signal);
            *held = start;
        }
    }
    return ring + (size_t)marks[TM_MARK_SLOT] * stream->signals;
}

static void sum_up(const tm_stream *stream, size_t device, int64_t time, const tm_real *values)
{
    tm_pane *panes = panes_at(stream, device, time);
    const tm_real at = (tm_real)(time - stream->marks[device * TM_MARKS + TM_MARK_PANE]);
    for (size_t signal = 0; signal < stream->signals; signal++)
        tm_pane_add(panes + signal, at, values[signal], stream->limits[signal]);
}

/* Lets go of the times of closed panes; their readings are summed up if they waited for that. */
static void release(const tm_stream *stream, size_t device)
{
    int64_t *marks = stream->marks + device * TM_MARKS;
    int64_t *seen = stream->seen + device * stream->capacity;
    tm_real *held = stream->held == NULL ? NULL : stream->held + device * stream->capacity * stream->signals;
    const size_t open = (size_t)marks[TM_MARK_OPEN];
    size_t closed = 0;
    while (closed < open && seen[closed] < marks[TM_MARK_CLOSED]) {
        if (held != NULL)
            sum_up(stream, device, seen[closed], held + closed * stream->signals);
        closed++;
    }
    if (closed == 0)
        return;
    for (size_t i = closed; i < open; i++)
        seen[i - closed] = seen[i];
    if (held != NULL)
        for (size_t i = closed * stream->signals; i < open * stream->signals; i++)
            held[i - closed * stream->signals] = held[i];
    marks[TM_MARK_OPEN] = (int64_t)(open - closed);
}

static void advance(const tm_stream *stream, size_t device, int64_t time)
{
    int64_t *marks = stream->marks + device * TM_MARKS;
    const int64_t watermark = time - stream->lateness_us;
    if (marks[TM_MARK_NEWEST] == TM_NEVER) {
        marks[TM_MARK_FIRST] = floor_to(time, stream->pane_us);
        marks[TM_MARK_CLOSED] = floor_to(watermark, stream->pane_us);
        marks[TM_MARK_EMITTED] = floor_to(watermark, stream->every_us); /* no window that ends before it holds anything */
    } else if (watermark - marks[TM_MARK_CLOSED] >= stream->pane_us) {
        marks[TM_MARK_CLOSED] = floor_to(watermark, stream->pane_us);
        release(stream, device);
    }
    marks[TM_MARK_NEWEST] = time;
    if (watermark - marks[TM_MARK_EMITTED] >= stream->every_us && !marks[TM_MARK_DUE]) {
        marks[TM_MARK_DUE] = 1;
        stream->tally[TM_TALLY_DUE]++;
    }
}

/* Takes one row in; 0 when it has to wait. */
static int take_row(const tm_stream *stream, size_t device, int64_t time, const tm_real *values)
{
    int64_t *marks = stream->marks + device * TM_MARKS;
    if (time < marks[TM_MARK_CLOSED]) {
        stream->tally[TM_TALLY_LATE]++;
        return 1;
    }
    if (time > marks[TM_MARK_NEWEST]) {
        advance(stream, device, time);
        if (time - marks[TM_MARK_EMITTED] >= stream->room_us)
            return 0;
    }
    int64_t *seen = stream->seen + device * stream->capacity;
    const size_t open = (size_t)marks[TM_MARK_OPEN];
    size_t place = open;
    while (place > 0 && seen[place - 1] > time)
        place--;
    if (place > 0 && seen[place - 1] == time) {
        stream->tally[TM_TALLY_DUPLICATE]++;
        return 1;
    }
    if (open == stream->capacity) {
        stream->tally[TM_TALLY_CROWDED] += open >= stream->most_open;
        return open >= stream->most_open;
    }
    for (size_t i = open; i > place; i--)
        seen[i] = seen[i - 1];
    seen[place] = time;
    marks[TM_MARK_OPEN] = (int64_t)(open + 1);
    if (time < marks[TM_MARK_FIRST])
        marks[TM_MARK_FIRST] = floor_to(time, stream->pane_us);
    if (stream->held == NULL) {
        sum_up(stream, device, time, values);
        return 1;
    }
    tm_real *held = stream->held + device * stream->capacity * stream->signals;
    for (size_t i = open * stream->signals; i > place * stream->signals; i--)
        held[i + stream->signals - 1] = held[i - 1];
    memcpy(held + place * stream->signals, values, stream->signals * sizeof *values);
    return 1;
}

static void expect_row(const tm_stream *stream, int32_t device)
{
    if (device < 0)
        return;
    const size_t slot = (size_t)stream->marks[(size_t)device * TM_MARKS + TM_MARK_SLOT];
    const char *panes = (const char *)(stream->state + ((size_t)device * stream->panes + slot) * stream->signals);
    for (size_t byte = 0; byte < stream->signals * sizeof(tm_pane); byte += 64)
        TM_PREFETCH(panes + byte);
    TM_PREFETCH(stream->seen + (size_t)device * stream->capacity);
}

size_t tm_stream_take(const tm_stream *stream, const int32_t *device, const int64_t *time, const tm_real *values,
                      size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        if (row + TM_AHEAD < rows)
            expect_row(stream, device[row + TM_AHEAD]);
        if (device[row] < 0)
            stream->tally[TM_TALLY_REFUSED]++;
        else if (!take_row(stream, (size_t)device[row], time[row], values + row * stream->signals))
            return row;
    }
    return rows;
}

size_t tm_stream_misfit(const tm_stream *stream, const int32_t *device, const int64_t *time, size_t rows)
{
    for (size_t row = 0; row < rows; row++)
        if ((device[row] >= 0 && (size_t)device[row] >= stream->devices) || time[row] < -TM_FARTHEST ||
            time[row] > TM_FARTHEST)
            return row;
    return rows;
}
