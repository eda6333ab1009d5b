#include "scan.h"

#include <math.h>
#include <string.h>

typedef struct {
    tm_scan *scan;
    const char *at, *end, *data;
    int32_t expected[TM_SCAN_FIELDS]; /* of each field, the one within it that is likely next: devices keep their order */
    uint64_t seen;                    /* fields of this record */
    uint64_t plain;                   /* fields whose names may stand in a text as they are */
} reader;

/* 1: a byte that may stand in a text as it is; all but quote, backslash and control characters. */
static int plain(unsigned char byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\';
}

static void skip_space(reader *read)
{
    while (read->at < read->end && (*read->at == ' ' || *read->at == '\n' || *read->at == '\r' || *read->at == '\t'))
        read->at++;
}

static int take(reader *read, char byte)
{
    if (read->at == read->end || *read->at != byte)
        return 0;
    read->at++;
    return 1;
}

static int take_word(reader *read, const char *word, size_t length)
{
    if ((size_t)(read->end - read->at) < length || memcmp(read->at, word, length) != 0)
        return 0;
    read->at += length;
    return 1;
}

static int take_null(reader *read)
{
    return take_word(read, "null", 4);
}

/* A text without escapes, from behind its first quote to behind its last; 0 when there is none. */
static int take_text(reader *read, const char **text, size_t *length)
{
    const char *at = read->at;
    while (at < read->end && plain((unsigned char)*at))
        at++;
    if (at == read->end || *at != '"')
        return 0;
    *text = read->at;
    *length = (size_t)(at - read->at);
    read->at = at + 1;
    return 1;
}

static int is_digit(const reader *read)
{
    return read->at < read->end && *read->at >= '0' && *read->at <= '9';
}

static int is_hex(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static int skip_escape(reader *read)
{
    if (read->at == read->end)
        return 0;
    const char kind = *read->at++;
    if (kind != 'u')
        return kind != '\0' && strchr("\"\\/bfnrt", kind) != NULL;
    for (int digit = 0; digit < 4; digit++, read->at++)
        if (read->at == read->end || !is_hex(*read->at))
            return 0;
    return 1;
}

static int skip_text(reader *read)
{
    for (;;) {
        while (read->at < read->end && plain((unsigned char)*read->at))
            read->at++;
        if (read->at == read->end)
            return 0;
        if (*read->at == '"') {
            read->at++;
            return 1;
        }
        if (*read->at++ != '\\' || !skip_escape(read))
            return 0;
    }
}

/* A number as JSON writes it: its digits as one whole number, of how many tens it is to be multiplied with, and whether all
 * digits fit. */
typedef struct {
    uint64_t digits;
    int32_t tens;
    int negative, fits, whole;
} number;

enum { MOST_DIGITS = 19, MOST_TENS = 9999 };

static void add_digit(number *found, int *count, char digit)
{
    if (*count > 0 || digit != '0')
        (*count)++;
    if (*count > MOST_DIGITS)
        found->fits = 0;
    else
        found->digits = found->digits * 10 + (uint64_t)(digit - '0');
}

static int take_exponent(reader *read, number *found)
{
    int32_t exponent = 0;
    const int negative = take(read, '-');
    if (!negative)
        (void)take(read, '+');
    if (!is_digit(read))
        return 0;
    for (; is_digit(read); read->at++)
        if (exponent < MOST_TENS)
            exponent = exponent * 10 + (*read->at - '0');
    found->tens += negative ? -exponent : exponent;
    return 1;
}

static int take_long_number(reader *read, number *found)
{
    int count = 0;
    memset(found, 0, sizeof *found);
    found->fits = found->whole = 1;
    found->negative = take(read, '-');
    if (!is_digit(read))
        return 0;
    if (*read->at == '0') {
        read->at++;
        if (is_digit(read))
            return 0;
    }
    for (; is_digit(read); read->at++)
        add_digit(found, &count, *read->at);
    if (take(read, '.')) {
        found->whole = 0;
        if (!is_digit(read))
            return 0;
        for (; is_digit(read); read->at++) {
            add_digit(found, &count, *read->at);
            if (found->tens > -MOST_TENS)
                found->tens--;
        }
    }
    if (read->at < read->end && (*read->at == 'e' || *read->at == 'E')) {
        found->whole = 0;
        read->at++;
        return take_exponent(read, found);
    }
    return 1;
}

/* Digits from `at` on, added to those before; where they end. More than 19 in all are not told apart from fewer. */
static const char *add_digits(const reader *read, const char *at, uint64_t *digits)
{
    uint64_t sum = *digits;
    for (; at < read->end && *at >= '0' && *at <= '9'; at++)
        sum = sum * 10 + (uint64_t)(*at - '0');
    *digits = sum;
    return at;
}

/* A number of at most 19 digits without an exponent in one go, others digit by digit. */
static int take_number(reader *read, number *found)
{
    const int negative = read->at < read->end && *read->at == '-';
    const char *const first = read->at + negative;
    uint64_t digits = 0;
    const char *at = add_digits(read, first, &digits);
    const ptrdiff_t before = at - first;
    ptrdiff_t behind = 0;
    if (before == 0 || (before > 1 && *first == '0'))
        return 0;
    if (at < read->end && *at == '.') {
        const char *const point = at + 1;
        at = add_digits(read, point, &digits);
        behind = at - point;
        if (behind == 0)
            return 0;
    }
    if (before + behind > MOST_DIGITS || (at < read->end && (*at == 'e' || *at == 'E')))
        return take_long_number(read, found);
    const number plain_one = {digits, -(int32_t)behind, negative, 1, behind == 0};
    *found = plain_one;
    read->at = at;
    return 1;
}

static int skip_value(reader *read, int depth);

static int skip_object(reader *read, int depth)
{
    skip_space(read);
    if (take(read, '}'))
        return 1;
    do {
        skip_space(read);
        if (!take(read, '"') || !skip_text(read))
            return 0;
        skip_space(read);
        if (!take(read, ':') || !skip_value(read, depth))
            return 0;
    } while (take(read, ','));
    return take(read, '}');
}

static int skip_array(reader *read, int depth)
{
    skip_space(read);
    if (take(read, ']'))
        return 1;
    do {
        if (!skip_value(read, depth))
            return 0;
    } while (take(read, ','));
    return take(read, ']');
}

/* Skips a value and the space around it. */
static int skip_value(reader *read, int depth)
{
    number unused;
    int good = 0;
    skip_space(read);
    if (depth == 0 || read->at == read->end)
        return 0;
    switch (*read->at) {
    case '"':
        read->at++;
        good = skip_text(read);
        break;
    case '{':
        read->at++;
        good = skip_object(read, depth - 1);
        break;
    case '[':
        read->at++;
        good = skip_array(read, depth - 1);
        break;
    case 't':
        good = take_word(read, "true", 4);
        break;
    case 'f':
        good = take_word(read, "false", 5);
        break;
    case 'n':
        good = take_null(read);
        break;
    default:
        good = take_number(read, &unused);
    }
    skip_space(read);
    return good;
}

static int fill_text(reader *read, tm_scan_column *column, size_t row)
{
    const char *text;
    size_t length;
    if (take_null(read))
        return 1;
    if (!take(read, '"') || !take_text(read, &text, &length))
        return 0;
    int32_t *ends = column->values;
    memcpy(column->bytes + ends[row], text, length);
    ends[row + 1] = ends[row] + (int32_t)length;
    column->valid[row] = 1;
    return 1;
}

static int fill_whole(reader *read, tm_scan_column *column, size_t row)
{
    number found;
    if (take_null(read))
        return 1;
    if (!take_number(read, &found) || !found.whole || !found.fits || found.digits > 999999999999999999u)
        return 0;
    ((int64_t *)column->values)[row] = found.negative ? -(int64_t)found.digits : (int64_t)found.digits;
    column->valid[row] = 1;
    return 1;
}

static int fill_real(reader *read, size_t place, size_t row)
{
    static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    tm_scan *scan = read->scan;
    const char *begin = read->at;
    number found;
    if (take_null(read))
        return 1;
    if (!take_number(read, &found))
        return 0;
    double *value = (double *)scan->columns[place].values + row;
    if (found.fits && found.digits <= (uint64_t)1 << 53 && found.tens >= -22 && found.tens <= 22) {
        const double digits = (double)found.digits;
        const double size = found.tens < 0 ? digits / TENS[-found.tens] : digits * TENS[found.tens];
        *value = found.negative ? -size : size;
        return 1;
    }
    const tm_scan_hard hard = {(size_t)(begin - read->data), row, place};
    scan->hard[scan->hard_count++] = hard;
    return 1;
}

static int fill(reader *read, size_t place)
{
    tm_scan_column *column = read->scan->columns + place;
    switch (column->kind) {
    case TM_SCAN_TEXT:
        return fill_text(read, column, read->scan->rows);
    case TM_SCAN_WHOLE:
        return fill_whole(read, column, read->scan->rows);
    default:
        return fill_real(read, place, read->scan->rows);
    }
}

/* The field of this name within another, -1 for none. */
static int32_t find(reader *read, int32_t within, const char *name, size_t length)
{
    const tm_scan_field *fields = read->scan->fields;
    const int32_t first = fields[within].child, expected = read->expected[within];
    for (int32_t field = expected; field >= 0; field = fields[field].next)
        if (fields[field].length == length && memcmp(fields[field].name, name, length) == 0) {
            read->expected[within] = fields[field].next >= 0 ? fields[field].next : first;
            return field;
        }
    for (int32_t field = first; field != expected; field = fields[field].next)
        if (fields[field].length == length && memcmp(fields[field].name, name, length) == 0) {
            read->expected[within] = fields[field].next;
            return field;
        }
    return -1;
}

/* Reads a name from behind its first quote to behind its last: the likely one is compared where it stands, others are
 * looked for. -1 for a name that was not asked for; 0 when there is none. */
static int take_name(reader *read, int32_t within, int32_t *field)
{
    const char *text;
    size_t length;
    const int32_t expected = read->expected[within];
    if (expected >= 0 && read->plain >> expected & 1) {
        const tm_scan_field *likely = read->scan->fields + expected;
        size_t same = 0;
        if ((size_t)(read->end - read->at) > likely->length)
            while (same < likely->length && read->at[same] == likely->name[same])
                same++;
        if (same == likely->length && read->end - read->at > (ptrdiff_t)same && read->at[same] == '"') {
            read->expected[within] = likely->next >= 0 ? likely->next : read->scan->fields[within].child;
            read->at += same + 1;
            *field = expected;
            return 1;
        }
    }
    if (!take_text(read, &text, &length))
        return 0;
    *field = find(read, within, text, length);
    return 1;
}

static int read_object(reader *read, int32_t within);

/* What stands behind the name of a field, or behind one that was not asked for. */
static int read_member(reader *read, int32_t field)
{
    if (field < 0)
        return !read->scan->strict && skip_value(read, TM_SCAN_DEPTH);
    if (read->seen >> field & 1)
        return 0;
    read->seen |= (uint64_t)1 << field;
    skip_space(read);
    const int32_t column = read->scan->fields[field].column;
    const int good = column >= 0 ? fill(read, (size_t)column) : take(read, '{') ? read_object(read, field) : take_null(read);
    skip_space(read);
    return good;
}

/* An object from behind its brace. Fields nest no deeper than there are fields. */
static int read_object(reader *read, int32_t within)
{
    skip_space(read);
    if (take(read, '}'))
        return 1;
    do {
        int32_t field;
        skip_space(read);
        if (!take(read, '"') || !take_name(read, within, &field))
            return 0;
        skip_space(read);
        if (!take(read, ':') || !read_member(read, field))
            return 0;
    } while (take(read, ','));
    return take(read, '}');
}

/* Lets the row have no values. */
static void clear_row(tm_scan *scan)
{
    const size_t row = scan->rows;
    for (size_t i = 0; i < scan->column_count; i++) {
        tm_scan_column *column = scan->columns + i;
        if (column->kind == TM_SCAN_REAL) {
            ((double *)column->values)[row] = (double)NAN;
            continue;
        }
        column->valid[row] = 0;
        if (column->kind == TM_SCAN_TEXT)
            ((int32_t *)column->values)[row + 1] = ((int32_t *)column->values)[row];
        else
            ((int64_t *)column->values)[row] = 0;
    }
}

tm_scan_end tm_scan_records(tm_scan *scan, const char *data, size_t size, size_t *offset)
{
    reader read = {.scan = scan, .at = data + *offset, .end = data + size, .data = data};
    for (size_t field = 0; field < scan->field_count; field++) {
        const tm_scan_field *named = scan->fields + field;
        size_t good = 0;
        while (good < named->length && plain((unsigned char)named->name[good]))
            good++;
        read.expected[field] = named->child;
        read.plain |= (uint64_t)(good == named->length) << field;
    }
    for (;;) {
        /* The brackets and commas of arrays hold records apart, as space does. */
        while (read.at < read.end && *read.at != '\0' && strchr(" \n\r\t,[]", *read.at) != NULL)
            read.at++;
        *offset = (size_t)(read.at - data);
        if (read.at == read.end)
            return TM_SCAN_DONE;
        if (scan->rows == scan->room || scan->hard_room - scan->hard_count < scan->column_count)
            return TM_SCAN_FULL;
        const size_t hard = scan->hard_count;
        read.seen = 0;
        clear_row(scan);
        if (!take(&read, '{') || !read_object(&read, 0)) {
            scan->hard_count = hard;
            return TM_SCAN_REFUSED;
        }
        scan->rows++;
    }
}
