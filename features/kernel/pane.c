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

/* Without a branch: which of two readings is the larger cannot be foretold. */
static tm_real distance(tm_real a, tm_real b)
{
    return (tm_real)fabs((double)(a - b));
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
    pane->low = value < pane->low ? value : pane->low; /* without a branch, see distance */
    pane->high = value > pane->high ? value : pane->high;
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

static tm_real root_mean_square(const tm_pane *pane)
{
    const tm_real about_first = pane->square + 2 * pane->first * pane->sum;
    return root(pane->first * pane->first + ratio(about_first, pane->count));
}

static tm_real slope_per_hour(const tm_pane *pane)
{
    const tm_real spread = pane->count * pane->time_square - pane->time * pane->time;
    return ratio(pane->count * pane->time_value - pane->time * pane->sum, spread) * (tm_real)3.6e9;
}

static tm_real largest_magnitude(const tm_pane *pane)
{
    const tm_real low = distance(pane->low, 0), high = distance(pane->high, 0);
    return low > high ? low : high;
}

tm_real tm_pane_statistic(const tm_pane *pane, tm_statistic code, tm_real window_us)
{
    switch (code) {
    case TM_COUNT:
        return pane->count;
    case TM_MISSING_SHARE:
        return ratio(pane->nulls, pane->count + pane->nulls);
    case TM_MEAN:
        return pane->first + ratio(pane->sum, pane->count);
    case TM_STD:
        return root(ratio(pane->square - ratio(pane->sum * pane->sum, pane->count), pane->count - 1));
    case TM_MIN:
        return pane->low;
    case TM_MAX:
        return pane->high;
    case TM_RANGE:
        return pane->high - pane->low;
    case TM_FIRST:
        return pane->first;
    case TM_LAST:
        return pane->last;
    case TM_DELTA:
        return pane->last - pane->first;
    case TM_SLOPE:
        return slope_per_hour(pane);
    case TM_RMS:
        return root_mean_square(pane);
    case TM_CREST:
        return ratio(largest_magnitude(pane), root_mean_square(pane));
    case TM_MEAN_ABSOLUTE_CHANGE:
        return ratio(pane->change, pane->count - 1);
    case TM_ABOVE_SHARE:
        return ratio(pane->above, pane->count);
    case TM_SINCE_LAST:
        return (window_us - pane->last_at) / (tm_real)3.6e9;
    case TM_STATISTICS:
        break;
    }
    return (tm_real)NAN;
}

void tm_panes_finalize(const tm_pane *panes, size_t count, size_t signals, const tm_real *window_us, size_t windows,
                       const int64_t *signal, const int64_t *codes, size_t wanted, tm_real *out)
{
    enum { BLOCK = 64 }; /* panes that stay in the fastest cache while all statistics are read off them */
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const size_t end = count - begin < BLOCK ? count : begin + BLOCK;
        for (size_t k = 0; k < wanted; k++) {
            const tm_statistic code = (tm_statistic)codes[k];
            const tm_pane *pane = panes + begin * signals + (size_t)signal[k];
            for (size_t i = begin; i < end; i++, pane += signals)
                out[k * count + i] = tm_pane_statistic(pane, code, window_us[windows == 1 ? 0 : i]);
        }
    }
}

void tm_panes_accumulate(tm_pane *panes, size_t count, size_t signals, const tm_real *shift)
{
    for (size_t i = signals; i < count * signals; i++) {
        const tm_pane next = panes[i];
        panes[i] = panes[i - signals];
        tm_pane_merge(panes + i, &next, shift[i / signals]);
    }
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

/* Rows by columns. Rows are summed up in chunks: small enough to stay in the fastest cache, and in two sums a field, which
 * the processor adds to at once where it can. */
enum { CHUNK = 256, SUMS = 2 };

/* Adds readings to a pane that holds one or more. They come in the order of time, not before the last one of the pane;
 * x[-1] is that last one. */
static void add_in_order(tm_pane *pane, const tm_real *restrict t, const tm_real *restrict x, size_t count,
                         tm_real limit)
{
    tm_real sum[SUMS] = {0}, square[SUMS] = {0}, time[SUMS] = {0}, time_square[SUMS] = {0};
    tm_real time_value[SUMS] = {0}, change[SUMS] = {0}, above[SUMS] = {0};
    tm_real low[SUMS] = {pane->low, pane->low}, high[SUMS] = {pane->high, pane->high};
    const tm_real first = pane->first, first_at = pane->first_at;
    const size_t even = count / SUMS * SUMS;

    for (size_t row = 0; row < even; row += SUMS)
        for (size_t lane = 0; lane < SUMS; lane++) {
            const tm_real value = x[row + lane];
            const tm_real dt = t[row + lane] - first_at;
            const tm_real dx = value - first;
            const tm_real step = value - x[row + lane - 1];
            sum[lane] += dx;
            square[lane] += dx * dx;
            time[lane] += dt;
            time_square[lane] += dt * dt;
            time_value[lane] += dt * dx;
            change[lane] += (tm_real)fabs((double)step);
            above[lane] += value > limit ? (tm_real)1 : (tm_real)0;
            low[lane] = value < low[lane] ? value : low[lane];
            high[lane] = value > high[lane] ? value : high[lane];
        }
    if (even > 0) {
        pane->count += (tm_real)even;
        pane->sum += sum[0] + sum[1];
        pane->square += square[0] + square[1];
        pane->time += time[0] + time[1];
        pane->time_square += time_square[0] + time_square[1];
        pane->time_value += time_value[0] + time_value[1];
        pane->change += change[0] + change[1];
        pane->above += above[0] + above[1];
        pane->low = low[0] < low[1] ? low[0] : low[1];
        pane->high = high[0] > high[1] ? high[0] : high[1];
        pane->last = x[even - 1];
        pane->last_at = t[even - 1];
    }
    if (even < count)
        tm_pane_add(pane, t[even], x[even], limit);
}

/* Eight bytes, the first of them the lowest: one instruction where the processor has them in this order. */
static uint64_t eight_of(const uint8_t *byte)
{
    return (uint64_t)byte[0] | (uint64_t)byte[1] << 8 | (uint64_t)byte[2] << 16 | (uint64_t)byte[3] << 24 |
           (uint64_t)byte[4] << 32 | (uint64_t)byte[5] << 40 | (uint64_t)byte[6] << 48 | (uint64_t)byte[7] << 56;
}

/* `count` bits of a bitmap from bit `begin` on, at most 64. No byte is read that holds none of them. */
static uint64_t bits_of(const uint8_t *bitmap, size_t begin, size_t count)
{
    const uint8_t *byte = bitmap + begin / 8;
    const size_t shift = begin % 8, bytes = (shift + count + 7) / 8;
    uint64_t bits = 0;
    if (bytes >= 8)
        bits = eight_of(byte);
    else
        for (size_t i = 0; i < bytes; i++)
            bits |= (uint64_t)byte[i] << (8 * i);
    bits >>= shift;
    return bytes > 8 ? bits | (uint64_t)byte[8] << (64 - shift) : bits;
}

/* Adds consecutive rows to an empty pane from where they lie, when none is missing; else changes nothing and returns 0. */
static int add_in_place(tm_pane *pane, const tm_column *column, size_t first, size_t count, const tm_real *restrict at,
                        tm_real limit)
{
    const tm_real *x = column->values + first;
    const tm_pane empty = *pane;
    if (column->validity != NULL)
        for (size_t begin = 0; begin < count; begin += 64) {
            const size_t rows = count - begin < 64 ? count - begin : 64;
            const uint64_t missing = ~bits_of(column->validity, column->offset + first + begin, rows);
            if (missing << (64 - rows) != 0)
                return 0;
        }
    tm_pane_add(pane, at[0], x[0], limit);
    add_in_order(pane, at + 1, x + 1, count - 1, limit);
    if (pane->sum == pane->sum)
        return 1;
    *pane = empty; /* a NaN among them, or an infinity */
    return 0;
}

/* Takes the readings that exist of consecutive rows into `t` and `x`, without a branch that could be mispredicted. */
static size_t take_from(const tm_column *column, size_t first, size_t count, const tm_real *restrict at,
                        tm_real *restrict t, tm_real *restrict x)
{
    const tm_real *values = column->values + first;
    size_t taken = 0;
    for (size_t begin = 0; begin < count; begin += 64) {
        const size_t end = count - begin < 64 ? count : begin + 64;
        uint64_t bits = ~(uint64_t)0;
        if (column->validity != NULL)
            bits = bits_of(column->validity, column->offset + first + begin, end - begin);
        for (size_t i = begin; i < end; i++, bits >>= 1) {
            const tm_real value = values[i];
            t[taken] = at[i];
            x[taken] = value;
            taken += (size_t)(bits & 1) & (size_t)(value == value);
        }
    }
    return taken;
}

/* The same for the rows that are listed. */
static size_t take_listed(const tm_column *column, const uint32_t *restrict rows, size_t count,
                          const tm_real *restrict at, tm_real *restrict t, tm_real *restrict x)
{
    const tm_real *restrict values = column->values;
    size_t taken = 0;
    if (column->validity == NULL) {
        for (size_t i = 0; i < count; i++) {
            const tm_real value = values[rows[i]];
            t[taken] = at[i];
            x[taken] = value;
            taken += (size_t)(value == value);
        }
        return taken;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t bit = column->offset + rows[i];
        const tm_real value = values[rows[i]];
        t[taken] = at[i];
        x[taken] = value;
        taken += (size_t)(column->validity[bit / 8] >> (bit % 8)) & 1 & (size_t)(value == value);
    }
    return taken;
}

/* Adds a chunk of rows to the panes of its signals: those that are listed, or from `first` on. */
static void add_chunk(tm_pane *panes, int64_t start, const tm_rows *table, const uint32_t *rows, size_t first,
                      size_t count)
{
    tm_real at[CHUNK], t[CHUNK], x[1 + CHUNK];
    int rising = 1;
    for (size_t i = 0; i < count; i++) /* unsigned: a time may be anything */
        at[i] = (tm_real)(int64_t)((uint64_t)table->times[rows != NULL ? rows[i] : first + i] - (uint64_t)start);
    for (size_t i = 1; i < count; i++)
        rising &= at[i - 1] < at[i];
    for (size_t signal = 0; signal < table->signals; signal++) {
        tm_pane *pane = panes + signal;
        const tm_column *column = table->columns + signal;
        const tm_real limit = table->limits[signal];
        if (rows == NULL && rising && pane->count == 0 && add_in_place(pane, column, first, count, at, limit))
            continue;
        const size_t taken = rows != NULL ? take_listed(column, rows, count, at, t, x + 1)
                                          : take_from(column, first, count, at, t, x + 1);
        size_t done = 0;
        pane->nulls += (tm_real)(count - taken);
        if (taken > 0 && pane->count == 0)
            tm_pane_add(pane, t[0], x[1], limit), done = 1;
        if (done < taken && rising && !is_before(t[done], x[1 + done], pane->last_at, pane->last)) {
            x[done] = pane->last;
            add_in_order(pane, t + done, x + 1 + done, taken - done, limit);
        } else
            for (; done < taken; done++)
                tm_pane_add(pane, t[done], x[1 + done], limit);
    }
}

static int64_t start_of(int64_t time, int64_t pane_us)
{
    const int64_t rest = time % pane_us;
    return (int64_t)((uint64_t)time - (uint64_t)(rest < 0 ? rest + pane_us : rest));
}

tm_runs tm_runs_find(const int32_t *device, const int64_t *times, size_t rows, int64_t pane_us, uint32_t *begin,
                     int64_t *start)
{
    tm_runs runs = {0, 1, 1, 0, 0, 0, 0};
    begin[0] = 0;
    if (rows == 0)
        return runs;
    int64_t here = start_of(times[0], pane_us);
    start[runs.count++] = here;
    runs.first_device = runs.last_device = device[0];
    runs.first_start = runs.last_start = here;
    for (size_t row = 1; row < rows; row++) {
        const int stays = (uint64_t)times[row] - (uint64_t)here < (uint64_t)pane_us;
        if (stays && device[row] == device[row - 1]) {
            runs.ordered &= times[row - 1] < times[row];
            continue;
        }
        const int64_t before = here;
        if (!stays) {
            here = start_of(times[row], pane_us);
            runs.first_start = here < runs.first_start ? here : runs.first_start;
            runs.last_start = here > runs.last_start ? here : runs.last_start;
        }
        runs.first_device = device[row] < runs.first_device ? device[row] : runs.first_device;
        runs.last_device = device[row] > runs.last_device ? device[row] : runs.last_device;
        runs.rising &= device[row - 1] < device[row] || (device[row - 1] == device[row] && before < here);
        begin[runs.count] = (uint32_t)row;
        start[runs.count++] = here;
    }
    begin[runs.count] = (uint32_t)rows;
    return runs;
}

/* The cell of each run goes to `group`; cells in use are marked. False when a run has none. */
static int mark_cells(tm_numbering *numbering, const int32_t *device, int64_t pane_us, const uint32_t *begin,
                      const int64_t *start, const tm_runs *runs)
{
    uint64_t span = 0;
    for (size_t cell = 0; cell < numbering->devices * numbering->spans; cell++)
        numbering->cells[cell] = 0;
    for (size_t run = 0; run < runs->count; run++) {
        const uint64_t row = (uint64_t)((int64_t)device[begin[run]] - runs->first_device);
        if (run == 0 || start[run] != start[run - 1])
            span = ((uint64_t)start[run] - (uint64_t)runs->first_start) / (uint64_t)pane_us;
        if (row >= numbering->devices || span >= numbering->spans)
            return 0;
        numbering->group[run] = (uint32_t)(row * numbering->spans + span);
        numbering->cells[numbering->group[run]] = 1;
    }
    return 1;
}

size_t tm_runs_number(tm_numbering *numbering, const int32_t *device, const int64_t *times, int64_t pane_us,
                      const uint32_t *begin, const int64_t *start, tm_runs *runs)
{
    uint32_t panes = 0;
    if (!mark_cells(numbering, device, pane_us, begin, start, runs))
        return 0;
    for (size_t row = 0; row < numbering->devices; row++)
        for (size_t span = 0; span < numbering->spans; span++) {
            uint32_t *cell = numbering->cells + row * numbering->spans + span;
            if (*cell == 0)
                continue;
            numbering->pane_device[panes] = (int32_t)(runs->first_device + (int64_t)row);
            numbering->pane_start[panes] = (int64_t)((uint64_t)runs->first_start + span * (uint64_t)pane_us);
            numbering->latest[panes] = INT64_MIN;
            *cell = panes++;
        }
    for (size_t run = 0; run < runs->count; run++) {
        const uint32_t pane = numbering->cells[numbering->group[run]];
        numbering->group[run] = pane;
        /* A first reading at the earliest time there is counts as unordered: rare, and only slower. */
        runs->ordered &= numbering->latest[pane] < times[begin[run]];
        numbering->latest[pane] = times[begin[run + 1] - 1];
    }
    return panes;
}

void tm_runs_sum(tm_pane *panes, const int64_t *pane_start, const tm_rows *rows, const uint32_t *begin, size_t runs)
{
    for (size_t run = 0; run < runs; run++) {
        tm_pane *pane = panes + run * rows->signals;
        for (size_t signal = 0; signal < rows->signals; signal++)
            tm_pane_clear(pane + signal);
        for (size_t row = begin[run]; row < begin[run + 1]; row += CHUNK) {
            const size_t left = begin[run + 1] - row;
            add_chunk(pane, pane_start[run], rows, NULL, row, left < CHUNK ? left : CHUNK);
        }
    }
}

/* Adds the rows of the listed runs, all of one pane. */
static void add_runs(tm_pane *panes, int64_t start, const tm_rows *rows, const uint32_t *begin, const uint32_t *runs,
                     size_t count)
{
    uint32_t listed[CHUNK];
    size_t full = 0;
    for (size_t i = 0; i < count; i++)
        for (uint32_t row = begin[runs[i]]; row < begin[runs[i] + 1]; row++) {
            listed[full++] = row;
            if (full == CHUNK) {
                add_chunk(panes, start, rows, listed, 0, full);
                full = 0;
            }
        }
    add_chunk(panes, start, rows, listed, 0, full);
}

void tm_runs_sum_grouped(tm_pane *panes, const int64_t *pane_start, size_t groups, const tm_rows *rows,
                         const uint32_t *begin, const uint32_t *group, size_t runs, uint32_t *scratch, size_t block)
{
    uint32_t *end = scratch, *sorted = end + groups, *touched = sorted + block;
    for (size_t i = 0; i < groups * rows->signals; i++)
        tm_pane_clear(panes + i);
    for (size_t pane = 0; pane < groups; pane++)
        end[pane] = 0;
    for (size_t low = 0; low < runs; low += block) { /* a counting sort of the block, stable */
        const size_t high = runs - low < block ? runs : low + block;
        size_t panes_touched = 0;
        uint32_t place = 0;
        for (size_t run = low; run < high; run++)
            if (end[group[run]]++ == 0)
                touched[panes_touched++] = group[run];
        for (size_t i = 0; i < panes_touched; i++) {
            const uint32_t count = end[touched[i]];
            end[touched[i]] = place;
            place += count;
        }
        for (size_t run = low; run < high; run++)
            sorted[end[group[run]]++] = (uint32_t)run;
        place = 0;
        for (size_t i = 0; i < panes_touched; i++) {
            const size_t pane = touched[i];
            add_runs(panes + pane * rows->signals, pane_start[pane], rows, begin, sorted + place, end[pane] - place);
            place = end[pane];
            end[pane] = 0;
        }
    }
}

void tm_panes_merge(tm_pane *left, const tm_pane *right, size_t count, const tm_real *shift, size_t shifts)
{
    for (size_t i = 0; i < count; i++)
        tm_pane_merge(left + i, right + i, shift[shifts == 1 ? 0 : i]);
}

void tm_panes_fold(tm_pane *panes, size_t groups, size_t signals, const tm_pane *parts, const int64_t *order,
                   const int64_t *begin)
{
    for (size_t group = 0; group < groups; group++)
        for (int64_t i = begin[group]; i < begin[group + 1]; i++) {
            const tm_pane *part = parts + (size_t)order[i] * signals;
            if (i == begin[group])
                memcpy(panes + group * signals, part, signals * sizeof *part);
            else
                for (size_t signal = 0; signal < signals; signal++)
                    tm_pane_merge(panes + group * signals + signal, part + signal, 0);
        }
}

/* ---- Quantiles ---- */

int32_t tm_sketch_key(tm_real magnitude)
{
    /* Exponent and fraction lie side by side in the bits of the number. */
    if (sizeof magnitude == sizeof(uint32_t)) {
        uint32_t bits;
        memcpy(&bits, &magnitude, sizeof bits);
        return ((int32_t)(bits >> 23) - 127) * TM_SKETCH_STEPS +
               (int32_t)((bits & 0x7fffffu) * (uint64_t)TM_SKETCH_STEPS >> 23);
    }
    uint64_t bits = 0;
    memcpy(&bits, &magnitude, sizeof magnitude < sizeof bits ? sizeof magnitude : sizeof bits);
    return ((int32_t)(bits >> 52) - 1023) * TM_SKETCH_STEPS +
           (int32_t)((bits & 0xfffffffffffffu) * TM_SKETCH_STEPS >> 52);
}

size_t tm_sketch_place(tm_real value, int32_t top, size_t below)
{
    const int32_t step = tm_sketch_key(value < 0 ? -value : value + 0) - top + TM_SKETCH_SIDE;
    const size_t distance_from_zero = step < 1 ? 0 : step > TM_SKETCH_SIDE ? TM_SKETCH_SIDE : (size_t)step;
    if (value < 0)
        return below > 0 ? below - distance_from_zero : 0;
    return below + distance_from_zero;
}

void tm_runs_sketch(uint32_t *counts, size_t buckets, const tm_column *columns, const int32_t *top, size_t sketches,
                    size_t below, const uint32_t *begin, const uint32_t *group, size_t runs)
{
    for (size_t run = 0; run < runs; run++)
        for (size_t sketch = 0; sketch < sketches; sketch++) {
            const tm_column *column = columns + sketch;
            uint32_t *mine = counts + ((group != NULL ? group[run] : run) * sketches + sketch) * buckets;
            for (size_t row = begin[run]; row < begin[run + 1]; row++) {
                const size_t bit = column->offset + row;
                const tm_real value = column->values[row];
                if (value == value && (column->validity == NULL || column->validity[bit / 8] >> (bit % 8) & 1))
                    mine[tm_sketch_place(value, top[sketch], below)]++;
            }
        }
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

/* The sketches beside the panes in a place of a ring; `size` receives how many counts each has. */
static uint32_t *counts_at(const tm_stream *stream, size_t device, size_t slot, size_t *size)
{
    *size = stream->below + 1 + TM_SKETCH_SIDE;
    return stream->counts + (device * stream->panes + slot) * stream->sketches * *size;
}

static void count_readings(const tm_stream *stream, size_t device, const tm_real *values)
{
    size_t size;
    uint32_t *counts = counts_at(stream, device, (size_t)stream->marks[device * TM_MARKS + TM_MARK_SLOT], &size);
    for (size_t sketch = 0; sketch < stream->sketches; sketch++, counts += size) {
        const tm_real value = values[stream->sketched[sketch]];
        if (value == value)
            counts[tm_sketch_place(value, stream->top[sketch], stream->below)]++;
    }
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
            if (stream->sketches > 0) {
                size_t size;
                uint32_t *counts = counts_at(stream, device, (size_t)slot, &size);
                for (size_t i = 0; i < stream->sketches * size; i++)
                    counts[i] = 0;
            }
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

/* Sums up the readings of a pane anew, in the order of time, where they came in another: `change` is NaN then. */
static void set_right(const tm_stream *stream, size_t device, const int64_t *seen, const tm_real *held, size_t rows)
{
    tm_pane *panes = panes_at(stream, device, seen[0]);
    int came_in_order = 1;
    for (size_t signal = 0; signal < stream->signals; signal++)
        came_in_order &= panes[signal].change == panes[signal].change;
    if (came_in_order)
        return;
    for (size_t signal = 0; signal < stream->signals; signal++)
        tm_pane_clear(panes + signal);
    for (size_t row = 0; row < rows; row++)
        sum_up(stream, device, seen[row], held + row * stream->signals); /* sketches do not ask for an order */
}

/* Lets go of the times and readings of closed panes. */
static void release(const tm_stream *stream, size_t device)
{
    int64_t *marks = stream->marks + device * TM_MARKS;
    int64_t *seen = stream->seen + device * stream->capacity;
    tm_real *held = stream->held == NULL ? NULL : stream->held + device * stream->capacity * stream->signals;
    const size_t open = (size_t)marks[TM_MARK_OPEN];
    size_t closed = 0;
    while (closed < open && seen[closed] < marks[TM_MARK_CLOSED]) {
        const size_t first = closed;
        const int64_t end = floor_to(seen[first], stream->pane_us) + stream->pane_us;
        while (closed < open && seen[closed] < end)
            closed++;
        if (held != NULL)
            set_right(stream, device, seen + first, held + first * stream->signals, closed - first);
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
    if (stream->held != NULL) {
        tm_real *held = stream->held + device * stream->capacity * stream->signals;
        for (size_t i = open * stream->signals; i > place * stream->signals; i--)
            held[i + stream->signals - 1] = held[i - 1];
        memcpy(held + place * stream->signals, values, stream->signals * sizeof *values);
    }
    sum_up(stream, device, time, values);
    if (stream->sketches > 0)
        count_readings(stream, device, values);
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
    const size_t next = (size_t)device * stream->capacity + (size_t)stream->marks[(size_t)device * TM_MARKS + TM_MARK_OPEN];
    TM_PREFETCH(stream->seen + next);
    if (stream->held != NULL)
        TM_PREFETCH(stream->held + next * stream->signals);
}

size_t tm_stream_take(const tm_stream *stream, const int32_t *device, const int64_t *time, const tm_real *values,
                      size_t rows)
{
    for (size_t row = 0; row < rows && row < TM_AHEAD; row++)
        expect_row(stream, device[row]);
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
