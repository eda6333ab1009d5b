/* The Python side of the scanner, in the stable ABI of Python 3.11: checks every buffer, scans without the GIL, and reads
 * the numbers that take more than one rounding as Python reads them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "scan.h"

enum { VALUES, VALID, BYTES, BUFFERS, MOST_COLUMNS = TM_SCAN_FIELDS, HARD = 256 };

typedef struct {
    tm_scan_field fields[TM_SCAN_FIELDS];
    tm_scan_column columns[MOST_COLUMNS];
    Py_buffer views[MOST_COLUMNS][BUFFERS];
    int open[MOST_COLUMNS][BUFFERS];
    tm_scan_hard hard[HARD];
    tm_scan scan;
} job;

static int refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return -1;
}

/* A field's number, or -1; the tree may only lead onwards, so that it ends. */
static int leads_on(int32_t number, Py_ssize_t from, Py_ssize_t count)
{
    return number == -1 || (number > from && number < count);
}

static int open_fields(job *work, PyObject *fields)
{
    const Py_ssize_t count = PyTuple_Size(fields), columns = (Py_ssize_t)work->scan.column_count;
    if (count < 1 || count > TM_SCAN_FIELDS)
        return PyErr_Occurred() ? -1 : refuse("there must be 1 to 64 fields");
    for (Py_ssize_t i = 0; i < count; i++) {
        tm_scan_field *field = work->fields + i;
        const char *name;
        Py_ssize_t length;
        if (!PyArg_ParseTuple(PyTuple_GetItem(fields, i), "y#iii:field", &name, &length, &field->child, &field->next,
                              &field->column))
            return -1;
        if (!leads_on(field->child, i, count) || !leads_on(field->next, i, count) || field->column < -1 ||
            field->column >= columns)
            return refuse("a field leads nowhere");
        field->name = name;
        field->length = (size_t)length;
    }
    work->scan.fields = work->fields;
    work->scan.field_count = (size_t)count;
    return 0;
}

/* Takes a buffer of at least `least` bytes; `None` for none where that is allowed. */
static int open_buffer(job *work, Py_ssize_t column, int which, PyObject *object, Py_ssize_t least)
{
    Py_buffer *view = &work->views[column][which];
    if (PyObject_GetBuffer(object, view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) != 0)
        return -1;
    work->open[column][which] = 1;
    if (view->len < least || (uintptr_t)view->buf % 8 != 0)
        return refuse("a column is too short, or not aligned");
    return 0;
}

static int open_columns(job *work, PyObject *columns, Py_ssize_t room, Py_ssize_t text)
{
    const Py_ssize_t count = PyTuple_Size(columns);
    if (count < 0 || count > MOST_COLUMNS || room < 0 || room > INT32_MAX)
        return PyErr_Occurred() ? -1 : refuse("there must be at most 64 columns, of at most 2^31 - 1 rows");
    for (Py_ssize_t i = 0; i < count; i++) {
        tm_scan_column *column = work->columns + i;
        int kind;
        PyObject *objects[BUFFERS];
        if (!PyArg_ParseTuple(PyTuple_GetItem(columns, i), "iOOO:column", &kind, objects, objects + 1, objects + 2))
            return -1;
        if (kind < TM_SCAN_TEXT || kind > TM_SCAN_REAL)
            return refuse("there is no such kind of column");
        const Py_ssize_t values = kind == TM_SCAN_TEXT ? (room + 1) * 4 : room * 8;
        if (open_buffer(work, i, VALUES, objects[VALUES], values) != 0 ||
            (kind != TM_SCAN_REAL && open_buffer(work, i, VALID, objects[VALID], room) != 0) ||
            (kind == TM_SCAN_TEXT && open_buffer(work, i, BYTES, objects[BYTES], text) != 0))
            return -1;
        column->kind = (tm_scan_kind)kind;
        column->values = work->views[i][VALUES].buf;
        column->valid = work->views[i][VALID].buf;
        column->bytes = work->views[i][BYTES].buf;
    }
    work->scan.columns = work->columns;
    work->scan.column_count = (size_t)count;
    return 0;
}

/* Where the texts of a column end so far must lie within its bytes, with room for all texts that may come. */
static int fits(const job *work, size_t rows, Py_ssize_t size)
{
    for (size_t i = 0; i < work->scan.column_count; i++)
        if (work->columns[i].kind == TM_SCAN_TEXT) {
            const int32_t end = ((const int32_t *)work->columns[i].values)[rows];
            if (end < 0 || size > INT32_MAX - end || work->views[i][BYTES].len < end + size)
                return 0;
        }
    return 1;
}

static void close_columns(job *work)
{
    for (int i = 0; i < MOST_COLUMNS; i++)
        for (int which = 0; which < BUFFERS; which++)
            if (work->open[i][which])
                PyBuffer_Release(&work->views[i][which]);
}

/* Reads the hard numbers found so far; a number is followed by more of its record, so reading it ends in time. */
static int soften(job *work, const char *data)
{
    for (size_t i = 0; i < work->scan.hard_count; i++) {
        const tm_scan_hard *hard = work->hard + i;
        char *end;
        const double value = PyOS_string_to_double(data + hard->offset, &end, NULL);
        if (value == -1.0 && PyErr_Occurred())
            return -1;
        ((double *)work->columns[hard->column].values)[hard->row] = value;
    }
    work->scan.hard_count = 0;
    return 0;
}

PyDoc_STRVAR(records_doc, "records(data, offset, fields, columns, rows, room, strict)\n--\n\n"
                          "Read records into columns; see pipelines.jsonscan. Returns how it ended, where, and rows.");

static PyObject *records(PyObject *module, PyObject *arguments)
{
    Py_buffer data;
    PyObject *fields, *columns, *result = NULL;
    Py_ssize_t offset, rows, room;
    int strict;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*nO!O!nnp:records", &data, &offset, &PyTuple_Type, &fields, &PyTuple_Type, &columns,
                          &rows, &room, &strict))
        return NULL;
    job *work = PyMem_Calloc(1, sizeof *work);
    if (work == NULL) {
        PyBuffer_Release(&data);
        return PyErr_NoMemory();
    }
    if (open_columns(work, columns, room, 0) != 0 || open_fields(work, fields) != 0)
        goto close;
    if (offset < 0 || offset > data.len || rows < 0 || rows > room || !fits(work, (size_t)rows, data.len - offset)) {
        refuse("the columns do not have room for the data");
        goto close;
    }
    work->scan.rows = (size_t)rows;
    work->scan.room = (size_t)room;
    work->scan.hard = work->hard;
    work->scan.strict = strict;
    work->scan.hard_room = HARD;
    size_t at = (size_t)offset;
    tm_scan_end end;
    do {
        Py_BEGIN_ALLOW_THREADS;
        end = tm_scan_records(&work->scan, data.buf, (size_t)data.len, &at);
        Py_END_ALLOW_THREADS;
        if (soften(work, data.buf) != 0)
            goto close;
    } while (end == TM_SCAN_FULL && work->scan.rows < (size_t)room);
    result = Py_BuildValue("inn", (int)end, (Py_ssize_t)at, (Py_ssize_t)work->scan.rows);
close:
    close_columns(work);
    PyMem_Free(work);
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"records", records, METH_VARARGS, records_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pipelines.jsonscan._scan",
    .m_doc = "The scanner, compiled.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__scan(void)
{
    return PyModuleDef_Init(&definition);
}
