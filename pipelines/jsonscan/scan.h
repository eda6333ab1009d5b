/* Columns out of JSON records, in one pass over the text and without a tree in between.
 *
 * The scanner reads what devices nearly always send and refuses the rest: it never guesses. Records are JSON objects in
 * any framing (lines, one after the other, an array). Of each, the fields that were asked for are written to columns and
 * the others are checked for being JSON and skipped. It refuses, and says where, what needs a slower and more patient
 * reader: text that is no JSON, a field of another type than asked for, a field that comes twice, an escape in a name or
 * in a text that is asked for, a whole number of more than 18 digits, values nested deeper than TM_SCAN_DEPTH.
 *
 * Numbers are exact: up to 2^53 times a power of ten up to 22 is one rounding (Clinger, "How to read floating point
 * numbers accurately", 1990); other ones are left to the caller as `hard`.
 *
 * C99, no allocation, nothing of the standard library but memcpy, memcmp, memset and NAN.
 */
#ifndef TIDEMILL_SCAN_H
#define TIDEMILL_SCAN_H

#include <stddef.h>
#include <stdint.h>

#define TM_SCAN_FIELDS 64 /* most fields of one mapping, those on the way included */
#define TM_SCAN_DEPTH 64

typedef enum { TM_SCAN_TEXT, TM_SCAN_WHOLE, TM_SCAN_REAL } tm_scan_kind;

/* A name of the tree of wanted fields. Field 0 is the record itself and has no name. */
typedef struct {
    const char *name;
    size_t length;
    int32_t child;  /* the first field within it, -1 for none */
    int32_t next;   /* the next field beside it, -1 for none */
    int32_t column; /* the column it is written to, -1 for a field that only holds others */
} tm_scan_field;

/* A column with room for `tm_scan.room` rows. */
typedef struct {
    tm_scan_kind kind;
    void *values;   /* TEXT: int32_t [room + 1], where each text ends; WHOLE: int64_t; REAL: double, NaN = missing */
    uint8_t *valid; /* TEXT, WHOLE: 1 where there is a value */
    char *bytes;    /* TEXT: the texts, one behind the other; room for as many bytes as the data has */
} tm_scan_column;

/* A number that takes more than one rounding: where it stands, and where it belongs. */
typedef struct {
    size_t offset, row, column;
} tm_scan_hard;

typedef struct {
    const tm_scan_field *fields;
    size_t field_count; /* at most TM_SCAN_FIELDS */
    tm_scan_column *columns;
    size_t column_count;
    size_t room;
    size_t rows; /* that are filled; the caller begins with 0 */
    tm_scan_hard *hard;
    size_t hard_room; /* at least column_count */
    size_t hard_count;
    int strict; /* whether fields that were not asked for are refused, too */
} tm_scan;

typedef enum { TM_SCAN_DONE, TM_SCAN_FULL, TM_SCAN_REFUSED } tm_scan_end;

/* Reads records of data[size] from `*offset` on. FULL: no room for a further record or its hard numbers; empty the columns
 * and go on at `*offset`. REFUSED: the record at `*offset` cannot be read; the rows before it are good. */
tm_scan_end tm_scan_records(tm_scan *scan, const char *data, size_t size, size_t *offset);

#endif
