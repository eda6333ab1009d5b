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
