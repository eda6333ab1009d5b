/* The Python side of the pane kernel: functions over buffers, in the stable ABI of Python 3.11.
 *
 * Everything a buffer can get wrong is refused here with ValueError, before the kernel sees it; the loops run without
 * the GIL. features/kernel/reference.py has the same functions in numpy, with the same refusals.
 *
 * How to add one: describe its arrays in a table of `array`, open them with open_all, refuse what does not fit together,
 * call the kernel, and leave through close_all.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "pane.h"

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(tm_pane) == TM_PANE_FIELDS * sizeof(double), "a pane is a row of doubles");
#endif

typedef enum { REAL, INT64, INT32, UINT32, UINT8 } element;

static const struct {
    const char *name, *formats; /* struct module characters that are this type on some platform */
    Py_ssize_t size;
} ELEMENTS[] = {{"float64", "d", 8}, {"int64", "lq", 8}, {"int32", "il", 4}, {"uint32", "IL", 4}, {"uint8", "B", 1}};

typedef struct {
    const char *name;
    element type;
    int dimensions; /* 0: any but none */
    int writable;
} array;

/* Fills `view` with the buffer of `object`; on refusal sets ValueError and returns -1 with nothing to release. */
static int open_array(PyObject *object, const array *form, Py_buffer *view)
{
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (form->writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) != 0) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s must be a C-contiguous%s array", form->name,
                     form->writable ? ", writable" : "");
        return -1;
    }
    const char *format = view->format != NULL ? view->format : "B";
    const int fits = format[0] != 0 && format[1] == 0 && strchr(ELEMENTS[form->type].formats, format[0]) != NULL;
    const char *fault = NULL;
    if (!fits || view->itemsize != ELEMENTS[form->type].size)
        fault = "must hold ";
    else if (form->dimensions > 0 ? view->ndim != form->dimensions : view->ndim < 1)
        fault = "has the wrong number of dimensions";
    else if ((uintptr_t)view->buf % (uintptr_t)view->itemsize != 0)
        fault = "must be aligned";
    if (fault == NULL)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s %s%s", form->name, fault, fault[5] == 'h' ? ELEMENTS[form->type].name : "");
    PyBuffer_Release(view);
    return -1;
}

static void close_all(Py_buffer *views, Py_ssize_t count)
{
    while (count-- > 0)
        PyBuffer_Release(views + count);
}

static int open_all(PyObject *const *objects, const array *forms, Py_buffer *views, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        if (open_array(objects[i], forms + i, views + i) != 0) {
            close_all(views, i);
            return -1;
        }
    return 0;
}

static PyObject *refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static int are_panes(const Py_buffer *panes)
{
    if (panes->shape[panes->ndim - 1] == TM_PANE_FIELDS)
        return 1;
    PyErr_Format(PyExc_ValueError, "panes must have %d fields", TM_PANE_FIELDS);
    return 0;
}

PyDoc_STRVAR(add_doc, "add(panes, group, at, values, limits)\n--\n\nAdd rows of readings to panes in place; see reference.add.");

static PyObject *add(PyObject *module, PyObject *arguments)
{
    enum { PANES, GROUP, AT, VALUES, LIMITS, COUNT };
    static const array forms[COUNT] = {
        {"panes", REAL, 3, 1}, {"group", INT64, 1, 0}, {"at", REAL, 1, 0}, {"values", REAL, 2, 0}, {"limits", REAL, 1, 0}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOO:add", object, object + 1, object + 2, object + 3, object + 4) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t rows = view[VALUES].shape[0], signals = view[PANES].shape[1];
    if (!are_panes(view + PANES))
        goto close;
    if (view[GROUP].shape[0] != rows || view[AT].shape[0] != rows || view[VALUES].shape[1] != signals) {
        refuse("group, at and values must have one row each, values one column per signal");
        goto close;
    }
    if (view[LIMITS].shape[0] != signals) {
        refuse("limits must hold one number per signal");
        goto close;
    }
    size_t done;
    Py_BEGIN_ALLOW_THREADS;
    done = tm_panes_add(view[PANES].buf, (size_t)view[PANES].shape[0], (size_t)signals, view[GROUP].buf, view[AT].buf,
                        view[VALUES].buf, view[LIMITS].buf, (size_t)rows);
    Py_END_ALLOW_THREADS;
    if (done != (size_t)rows)
        PyErr_Format(PyExc_ValueError, "row %zu belongs to a group that does not exist", done);
    else
        result = Py_NewRef(Py_None);
close:
    close_all(view, COUNT);
    return result;
}

PyDoc_STRVAR(merge_doc, "merge(left, right, shift)\n--\n\nMerge panes into `left` in place; see reference.merge.");

static PyObject *merge(PyObject *module, PyObject *arguments)
{
    enum { LEFT, RIGHT, SHIFT, COUNT };
    static const array forms[COUNT] = {{"left", REAL, 0, 1}, {"right", REAL, 0, 0}, {"shift", REAL, 1, 0}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOO:merge", object, object + 1, object + 2) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t count = view[LEFT].len / (Py_ssize_t)sizeof(tm_pane), shifts = view[SHIFT].shape[0];
    const Py_ssize_t dimensions = view[LEFT].ndim;
    if (!are_panes(view + LEFT))
        goto close;
    if (dimensions != view[RIGHT].ndim ||
        memcmp(view[LEFT].shape, view[RIGHT].shape, (size_t)dimensions * sizeof view[LEFT].shape[0]) != 0) {
        refuse("left and right must have one shape");
        goto close;
    }
    if (shifts != 1 && shifts != count) {
        refuse("shift must hold one number, or one per pane");
        goto close;
    }
    Py_BEGIN_ALLOW_THREADS;
    tm_panes_merge(view[LEFT].buf, view[RIGHT].buf, (size_t)count, view[SHIFT].buf, (size_t)shifts);
    Py_END_ALLOW_THREADS;
    result = Py_NewRef(Py_None);
close:
    close_all(view, COUNT);
    return result;
}

PyDoc_STRVAR(find_runs_doc,
             "find_runs(device, times, pane_us, begin, start)\n--\n\nCut rows into runs; see reference.find_runs.");

static PyObject *find_runs(PyObject *module, PyObject *arguments)
{
    enum { DEVICE, TIMES, BEGIN, START, COUNT };
    static const array forms[COUNT] = {
        {"device", INT32, 1, 0}, {"times", INT64, 1, 0}, {"begin", UINT32, 1, 1}, {"start", INT64, 1, 1}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    long long pane_us;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOLOO:find_runs", object, object + 1, &pane_us, object + 2, object + 3) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t rows = view[TIMES].shape[0];
    if (view[DEVICE].shape[0] != rows || view[BEGIN].shape[0] != rows + 1 || view[START].shape[0] != rows)
        refuse("device, times and start must have one row each, begin one more");
    else if ((uint64_t)rows > UINT32_MAX - 1 || pane_us < 1)
        refuse("there must be fewer than 2**32 - 1 rows, and a pane must last a microsecond or more");
    else {
        tm_runs runs;
        Py_BEGIN_ALLOW_THREADS;
        runs = tm_runs_find(view[DEVICE].buf, view[TIMES].buf, (size_t)rows, pane_us, view[BEGIN].buf, view[START].buf);
        Py_END_ALLOW_THREADS;
        result = Py_BuildValue("(nNNiiLL)", (Py_ssize_t)runs.count, PyBool_FromLong(runs.rising),
                               PyBool_FromLong(runs.ordered), (int)runs.first_device, (int)runs.last_device,
                               (long long)runs.first_start, (long long)runs.last_start);
    }
    close_all(view, COUNT);
    return result;
}

/* Whether begin[runs + 1] cuts `rows` rows into runs of one row or more. */
static int are_runs(const uint32_t *begin, Py_ssize_t runs, Py_ssize_t rows)
{
    int sound = (Py_ssize_t)begin[runs] == rows && begin[0] == 0;
    for (Py_ssize_t run = 0; run < runs; run++)
        sound &= begin[run] < begin[run + 1];
    return sound;
}

PyDoc_STRVAR(number_runs_doc, "number_runs(device, times, pane_us, begin, start, first, cells, group, pane_device, "
                              "pane_start, latest)\n--\n\nNumber the panes of runs; see reference.number_runs.");

static PyObject *number_runs(PyObject *module, PyObject *arguments)
{
    enum { DEVICE, TIMES, BEGIN, START, CELLS, GROUP, PANE_DEVICE, PANE_START, LATEST, COUNT };
    static const array forms[COUNT] = {{"device", INT32, 1, 0},      {"times", INT64, 1, 0},      {"begin", UINT32, 1, 0},
                                       {"start", INT64, 1, 0},       {"cells", UINT32, 2, 1},     {"group", UINT32, 1, 1},
                                       {"pane_device", INT32, 1, 1}, {"pane_start", INT64, 1, 1}, {"latest", INT64, 1, 1}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    long long pane_us, first_start;
    int first_device;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOLOO(iL)OOOOO:number_runs", object, object + 1, &pane_us, object + 2, object + 3,
                          &first_device, &first_start, object + 4, object + 5, object + 6, object + 7, object + 8) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t rows = view[TIMES].shape[0], count = view[START].shape[0];
    Py_ssize_t shortest = view[GROUP].shape[0];
    for (int i = PANE_DEVICE; i < COUNT; i++)
        shortest = view[i].shape[0] < shortest ? view[i].shape[0] : shortest;
    if (view[DEVICE].shape[0] != rows || view[BEGIN].shape[0] != count + 1 || shortest < count || pane_us < 1 ||
        (uint64_t)view[CELLS].len / sizeof(uint32_t) > UINT32_MAX ||
        !are_runs(view[BEGIN].buf, count, rows)) {
        refuse("device, times, begin, start and what is to be filled must fit together");
        goto close;
    }
    tm_runs runs = {(size_t)count, 0, 1, first_device, first_device, first_start, first_start};
    tm_numbering numbering = {view[CELLS].buf,       (size_t)view[CELLS].shape[0], (size_t)view[CELLS].shape[1],
                              view[GROUP].buf,       view[PANE_DEVICE].buf,        view[PANE_START].buf,
                              view[LATEST].buf};
    size_t panes;
    Py_BEGIN_ALLOW_THREADS;
    panes = tm_runs_number(&numbering, view[DEVICE].buf, view[TIMES].buf, pane_us, view[BEGIN].buf, view[START].buf, &runs);
    Py_END_ALLOW_THREADS;
    if (panes == 0 && count > 0)
        refuse("a run must have a cell");
    else
        result = Py_BuildValue("(nN)", (Py_ssize_t)panes, PyBool_FromLong(runs.ordered));
close:
    close_all(view, COUNT);
    return result;
}

/* The arrays of the columns of a call, to be closed together. */
typedef struct {
    Py_buffer *views;
    Py_ssize_t open;
    tm_column *column;
} columns;

static void close_columns(columns *given)
{
    close_all(given->views, given->open);
    PyMem_Free(given->views);
    PyMem_Free(given->column);
}

/* Opens one (values, validity or None, offset); 0 when it fits. */
static int open_column(columns *given, PyObject *parts, Py_ssize_t rows, tm_column *column)
{
    static const array forms[2] = {{"values", REAL, 1, 0}, {"validity", UINT8, 1, 0}};
    PyObject *values, *validity;
    Py_ssize_t offset;
    if (!PyTuple_Check(parts) || !PyArg_ParseTuple(parts, "OOn", &values, &validity, &offset)) {
        PyErr_Clear();
        refuse("a column must be a tuple of values, validity or None, and an offset");
        return -1;
    }
    Py_buffer *view = given->views + given->open;
    if (open_array(values, forms, view) != 0)
        return -1;
    given->open++;
    *column = (tm_column){view->buf, NULL, 0};
    if (view->shape[0] != rows) {
        refuse("a column must have one value per row");
        return -1;
    }
    if (validity == Py_None)
        return 0;
    view++;
    if (open_array(validity, forms + 1, view) != 0)
        return -1;
    given->open++;
    if (offset < 0 || offset > PY_SSIZE_T_MAX - rows - 7 || (offset + rows + 7) / 8 > view->shape[0]) {
        refuse("validity must hold one bit per row from the offset on");
        return -1;
    }
    column->validity = view->buf;
    column->offset = (size_t)offset;
    return 0;
}

static int open_columns(PyObject *list, Py_ssize_t rows, columns *given)
{
    const Py_ssize_t count = PyTuple_Check(list) ? PyTuple_Size(list) : -1;
    *given = (columns){NULL, 0, NULL};
    if (count < 0) {
        refuse("columns must be a tuple");
        return -1;
    }
    given->views = PyMem_Calloc((size_t)count * 2 + 1, sizeof *given->views);
    given->column = PyMem_Calloc((size_t)count + 1, sizeof *given->column);
    if (given->views == NULL || given->column == NULL) {
        PyErr_NoMemory();
        close_columns(given);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (open_column(given, PyTuple_GetItem(list, i), rows, given->column + i) != 0) {
            close_columns(given);
            return -1;
        }
    return 0;
}

static int are_below(const uint32_t *numbers, Py_ssize_t count, Py_ssize_t bound)
{
    int sound = 1;
    for (Py_ssize_t i = 0; i < count; i++)
        sound &= (Py_ssize_t)numbers[i] < bound;
    return sound;
}

PyDoc_STRVAR(sum_runs_doc, "sum_runs(panes, pane_start, times, begin, group, columns, limits, scratch)\n--\n\n"
                           "Sum up runs of rows in new panes; see reference.sum_runs.");

static PyObject *sum_runs(PyObject *module, PyObject *arguments)
{
    enum { PANES, PANE_START, TIMES, BEGIN, LIMITS, SCRATCH, GROUP, COUNT };
    static const array forms[COUNT] = {{"panes", REAL, 3, 1},  {"pane_start", INT64, 1, 0}, {"times", INT64, 1, 0},
                                       {"begin", UINT32, 1, 0}, {"limits", REAL, 1, 0},      {"scratch", UINT32, 1, 1},
                                       {"group", UINT32, 1, 0}};
    PyObject *object[COUNT], *list, *result = NULL;
    Py_buffer view[COUNT];
    columns given;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOOOOO:sum_runs", object + PANES, object + PANE_START, object + TIMES,
                          object + BEGIN, object + GROUP, &list, object + LIMITS, object + SCRATCH))
        return NULL;
    const int grouped = object[GROUP] != Py_None;
    const Py_ssize_t opened = grouped ? COUNT : GROUP;
    if (open_all(object, forms, view, opened) != 0)
        return NULL;
    const Py_ssize_t groups = view[PANES].shape[0], signals = view[PANES].shape[1], rows = view[TIMES].shape[0];
    const Py_ssize_t runs = view[BEGIN].shape[0] - 1, block = (view[SCRATCH].shape[0] - groups) / 2;
    if (!are_panes(view + PANES))
        goto close;
    if (view[PANE_START].shape[0] != groups || view[LIMITS].shape[0] != signals || runs < 0 ||
        !are_runs(view[BEGIN].buf, runs, rows)) {
        refuse("pane_start must have one row per pane, limits one per signal, and begin must cut all rows");
        goto close;
    }
    if (grouped ? view[GROUP].shape[0] != runs || !are_below(view[GROUP].buf, runs, groups) : groups != runs) {
        refuse("every run must belong to a pane");
        goto close;
    }
    if (grouped && block < 1) {
        refuse("scratch must hold one number per pane and two more");
        goto close;
    }
    if (open_columns(list, rows, &given) != 0)
        goto close;
    if (PyTuple_Size(list) != signals)
        refuse("there must be one column per signal");
    else {
        const tm_rows table = {view[TIMES].buf, given.column, view[LIMITS].buf, (size_t)rows, (size_t)signals};
        Py_BEGIN_ALLOW_THREADS;
        if (grouped)
            tm_runs_sum_grouped(view[PANES].buf, view[PANE_START].buf, (size_t)groups, &table, view[BEGIN].buf,
                                view[GROUP].buf, (size_t)runs, view[SCRATCH].buf, (size_t)block);
        else
            tm_runs_sum(view[PANES].buf, view[PANE_START].buf, &table, view[BEGIN].buf, (size_t)runs);
        Py_END_ALLOW_THREADS;
        result = Py_NewRef(Py_None);
    }
    close_columns(&given);
close:
    close_all(view, opened);
    return result;
}

PyDoc_STRVAR(fold_doc, "fold(panes, parts, order, begin)\n--\n\nMerge panes of one start; see reference.fold.");

static PyObject *fold(PyObject *module, PyObject *arguments)
{
    enum { PANES, PARTS, ORDER, BEGIN, COUNT };
    static const array forms[COUNT] = {
        {"panes", REAL, 3, 1}, {"parts", REAL, 3, 0}, {"order", INT64, 1, 0}, {"begin", INT64, 1, 0}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOO:fold", object, object + 1, object + 2, object + 3) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t groups = view[PANES].shape[0], signals = view[PANES].shape[1], listed = view[ORDER].shape[0];
    const int64_t *order = view[ORDER].buf, *begin = view[BEGIN].buf;
    if (!are_panes(view + PANES) || !are_panes(view + PARTS))
        goto close;
    int sound = view[PARTS].shape[1] == signals && view[BEGIN].shape[0] == groups + 1 && begin[0] == 0 &&
                begin[groups] == listed;
    for (Py_ssize_t i = 0; sound && i < groups; i++)
        sound = begin[i] < begin[i + 1] && begin[i + 1] <= listed;
    for (Py_ssize_t i = 0; sound && i < listed; i++)
        sound = order[i] >= 0 && order[i] < view[PARTS].shape[0];
    if (!sound) {
        refuse("begin must cut order into one run per pane, and order must number parts of the same signals");
        goto close;
    }
    Py_BEGIN_ALLOW_THREADS;
    tm_panes_fold(view[PANES].buf, (size_t)groups, (size_t)signals, view[PARTS].buf, order, begin);
    Py_END_ALLOW_THREADS;
    result = Py_NewRef(Py_None);
close:
    close_all(view, COUNT);
    return result;
}

/* --------------------------------------------------------------------------------------- Statistics and quantiles */

PyDoc_STRVAR(finalize_doc, "finalize(states, window_us, signals, codes, out)\n--\n\n"
                           "Read statistics off panes; see reference.finalize.");

static PyObject *finalize(PyObject *module, PyObject *arguments)
{
    enum { STATES, WINDOW, SIGNALS, CODES, OUT, COUNT };
    static const array forms[COUNT] = {{"states", REAL, 3, 0}, {"window_us", REAL, 1, 0}, {"signals", INT64, 1, 0},
                                       {"codes", INT64, 1, 0}, {"out", REAL, 2, 1}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOO:finalize", object, object + 1, object + 2, object + 3, object + 4) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t count = view[STATES].shape[0], signals = view[STATES].shape[1], wanted = view[CODES].shape[0];
    const Py_ssize_t windows = view[WINDOW].shape[0];
    const int64_t *signal = view[SIGNALS].buf, *codes = view[CODES].buf;
    if (!are_panes(view + STATES))
        goto close;
    if (view[SIGNALS].shape[0] != wanted || view[OUT].shape[0] != wanted || view[OUT].shape[1] != count ||
        (windows != 1 && windows != count)) {
        refuse("window_us must hold one number or one per state, signals, codes and out one row per statistic");
        goto close;
    }
    for (Py_ssize_t k = 0; k < wanted; k++)
        if (codes[k] < 0 || codes[k] >= TM_STATISTICS || signal[k] < 0 || signal[k] >= signals) {
            refuse("every code must have a statistic, and every signal a state");
            goto close;
        }
    Py_BEGIN_ALLOW_THREADS;
    tm_panes_finalize(view[STATES].buf, (size_t)count, (size_t)signals, view[WINDOW].buf, (size_t)windows, signal, codes,
                      (size_t)wanted, view[OUT].buf);
    Py_END_ALLOW_THREADS;
    result = Py_NewRef(Py_None);
close:
    close_all(view, COUNT);
    return result;
}

PyDoc_STRVAR(accumulate_doc, "accumulate(states, shift)\n--\n\nMerge each pane with those before; see reference.accumulate.");

static PyObject *accumulate(PyObject *module, PyObject *arguments)
{
    enum { STATES, SHIFT, COUNT };
    static const array forms[COUNT] = {{"states", REAL, 3, 1}, {"shift", REAL, 1, 0}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO:accumulate", object, object + 1) || open_all(object, forms, view, COUNT) != 0)
        return NULL;
    if (!are_panes(view + STATES))
        goto close;
    if (view[SHIFT].shape[0] != view[STATES].shape[0]) {
        refuse("shift must hold one number per pane");
        goto close;
    }
    Py_BEGIN_ALLOW_THREADS;
    tm_panes_accumulate(view[STATES].buf, (size_t)view[STATES].shape[0], (size_t)view[STATES].shape[1],
                        view[SHIFT].buf);
    Py_END_ALLOW_THREADS;
    result = Py_NewRef(Py_None);
close:
    close_all(view, COUNT);
    return result;
}

PyDoc_STRVAR(sketch_runs_doc, "sketch_runs(counts, begin, group, columns, top, below)\n--\n\n"
                              "Count readings in buckets; see reference.sketch_runs.");

static PyObject *sketch_runs(PyObject *module, PyObject *arguments)
{
    enum { COUNTS, BEGIN, TOP, GROUP, COUNT };
    static const array forms[COUNT] = {
        {"counts", UINT32, 3, 1}, {"begin", UINT32, 1, 0}, {"top", INT32, 1, 0}, {"group", UINT32, 1, 0}};
    PyObject *object[COUNT], *list, *result = NULL;
    Py_buffer view[COUNT];
    columns given;
    Py_ssize_t below;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOOn:sketch_runs", object + COUNTS, object + BEGIN, object + GROUP, &list,
                          object + TOP, &below))
        return NULL;
    const Py_ssize_t opened = object[GROUP] == Py_None ? GROUP : COUNT;
    if (open_all(object, forms, view, opened) != 0)
        return NULL;
    const Py_ssize_t panes = view[COUNTS].shape[0], sketches = view[COUNTS].shape[1], buckets = view[COUNTS].shape[2];
    const Py_ssize_t runs = view[BEGIN].shape[0] - 1;
    const uint32_t *begin = view[BEGIN].buf;
    if (runs < 0 || !are_runs(begin, runs, (Py_ssize_t)begin[runs]) ||
        (opened == COUNT ? view[GROUP].shape[0] != runs || !are_below(view[GROUP].buf, runs, panes) : panes != runs)) {
        refuse("begin must cut the rows, and every run must belong to a pane");
        goto close;
    }
    for (Py_ssize_t i = 0; i < view[TOP].shape[0]; i++)
        if (((const int32_t *)view[TOP].buf)[i] > 1100 * TM_SKETCH_STEPS || ((const int32_t *)view[TOP].buf)[i] < -1100 * TM_SKETCH_STEPS) {
            refuse("top must be the key of a number");
            goto close;
        }
    if ((below != 0 && below != TM_SKETCH_SIDE) || buckets != below + 1 + TM_SKETCH_SIDE ||
        view[TOP].shape[0] != sketches) {
        refuse("there must be as many buckets as a sketch has, and one top per sketch");
        goto close;
    }
    if (open_columns(list, (Py_ssize_t)begin[runs], &given) != 0)
        goto close;
    if (PyTuple_Size(list) != sketches)
        refuse("there must be one column per sketch");
    else {
        Py_BEGIN_ALLOW_THREADS;
        tm_runs_sketch(view[COUNTS].buf, (size_t)buckets, given.column, view[TOP].buf, (size_t)sketches, (size_t)below,
                       begin, opened == COUNT ? view[GROUP].buf : NULL, (size_t)runs);
        Py_END_ALLOW_THREADS;
        result = Py_NewRef(Py_None);
    }
    close_columns(&given);
close:
    close_all(view, opened);
    return result;
}

/* ---- Bursts ---- */

PyDoc_STRVAR(burst_doc, "burst(samples, rate, twiddles, bands, result)\n--\n\nStatistics of a burst; see burst_reference.burst.");

static PyObject *burst(PyObject *module, PyObject *arguments)
{
    enum { SAMPLES, TWIDDLES, BANDS, RESULT, COUNT };
    static const array forms[COUNT] = {
        {"samples", REAL, 1, 0}, {"twiddles", REAL, 1, 0}, {"bands", INT64, 2, 0}, {"result", REAL, 1, 1}};
    PyObject *object[COUNT], *result = NULL;
    Py_buffer view[COUNT];
    double rate;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OdOOO:burst", object, &rate, object + 1, object + 2, object + 3) ||
        open_all(object, forms, view, COUNT) != 0)
        return NULL;
    const Py_ssize_t segment = view[TWIDDLES].shape[0], bands = view[BANDS].shape[0];
    tm_real *scratch = NULL;
    if (view[BANDS].shape[1] != 2 || view[RESULT].shape[0] != TM_BURST_RESULTS + bands) {
        refuse("bands must be pairs, and result hold four numbers and one for each of them");
        goto close;
    }
    scratch = PyMem_Malloc(TM_BURST_SCRATCH(segment > 0 ? segment : 1) * sizeof(tm_real));
    if (scratch == NULL) {
        PyErr_NoMemory();
        goto close;
    }
    size_t done;
    Py_BEGIN_ALLOW_THREADS;
    done = tm_burst(view[SAMPLES].buf, (size_t)view[SAMPLES].shape[0], rate, view[TWIDDLES].buf, (size_t)segment,
                    view[BANDS].buf, (size_t)bands, scratch, view[RESULT].buf);
    Py_END_ALLOW_THREADS;
    if (done == 0)
        refuse("the segment, a band or the length of the burst is not possible");
    else
        result = Py_NewRef(Py_None);
    PyMem_Free(scratch);
close:
    close_all(view, COUNT);
    return result;
}

/* --------------------------------------------------------------------------------------------------------- Stream */

/* The arrays a stream stands on, held open as long as it lives: a reading must not pay for looking at each of them. */
enum { STATE, START, MARKS, SEEN, HELD, LIMITS, TALLY, COUNTS, SKETCHED, TOP, ARRAYS };

typedef struct {
    PyObject_HEAD
    tm_stream stream;
    Py_buffer array[ARRAYS];
    int opened;
} Stream;

static const char *misfit_of_arrays(const Stream *self)
{
    const Py_ssize_t *state = self->array[STATE].shape, *start = self->array[START].shape;
    const Py_ssize_t *marks = self->array[MARKS].shape, *seen = self->array[SEEN].shape;
    const Py_ssize_t *held = self->array[HELD].shape;
    if (state[3] != TM_PANE_FIELDS || state[1] < 1)
        return "state must hold rings of one pane or more, with all their fields";
    if (start[0] != state[0] || start[1] != state[1])
        return "start must hold one number per pane";
    if (marks[0] != state[0] || marks[1] != TM_MARKS)
        return "marks must hold all marks of each device";
    if (seen[0] != state[0] || held[0] != state[0] || held[2] != state[2] || (held[1] != 0 && held[1] != seen[1]))
        return "seen and held must have one row per device, held one reading per time, or none";
    if (self->array[LIMITS].shape[0] != state[2])
        return "limits must hold one number per signal";
    return self->array[TALLY].shape[0] != TM_TALLIES ? "tally must hold one number of each kind" : NULL;
}

static const char *misfit_of_sketches(const Stream *self)
{
    const Py_ssize_t *counts = self->array[COUNTS].shape, *state = self->array[STATE].shape;
    const int32_t *sketched = self->array[SKETCHED].buf, *top = self->array[TOP].buf;
    if (counts[0] != state[0] || counts[1] != state[1] || self->array[SKETCHED].shape[0] != counts[2] ||
        self->array[TOP].shape[0] != counts[2])
        return "counts must have one row per pane, sketched and top one number per sketch";
    if (counts[2] > 0 && counts[3] != 1 + TM_SKETCH_SIDE && counts[3] != 1 + 2 * TM_SKETCH_SIDE)
        return "there must be as many buckets as a sketch has";
    for (Py_ssize_t i = 0; i < counts[2]; i++)
        if (sketched[i] < 0 || sketched[i] >= state[2] || top[i] > 1100 * TM_SKETCH_STEPS || top[i] < -1100 * TM_SKETCH_STEPS)
            return "sketched must number signals, and top be the keys of numbers";
    return NULL;
}

static const char *misfit_of_stream(const tm_stream *stream)
{
    const int64_t most = TM_FARTHEST / 4;
    if (stream->pane_us < 1 || stream->every_us < 1 || stream->lateness_us < 0 || stream->pane_us > most ||
        stream->every_us > most || stream->lateness_us > most || stream->every_us % stream->pane_us != 0)
        return "pane, step and lateness do not fit together";
    if ((int64_t)stream->panes > most / stream->pane_us || stream->room_us % stream->pane_us != 0 ||
        stream->room_us < stream->lateness_us + stream->every_us ||
        (int64_t)stream->panes * stream->pane_us < stream->lateness_us + stream->pane_us)
        return "the rings are too short for the lateness";
    for (size_t device = 0; device < stream->devices; device++) {
        const int64_t *marks = stream->marks + device * TM_MARKS;
        if (marks[TM_MARK_SLOT] < 0 || marks[TM_MARK_SLOT] >= (int64_t)stream->panes || marks[TM_MARK_OPEN] < 0 ||
            marks[TM_MARK_OPEN] > (int64_t)stream->capacity)
            return "marks point beyond the ring or the times";
    }
    return NULL;
}

static int stream_open(Stream *self, PyObject *const *object)
{
    static const array forms[ARRAYS] = {
        [STATE] = {"state", REAL, 4, 1}, [START] = {"start", INT64, 2, 1}, [MARKS] = {"marks", INT64, 2, 1},
        [SEEN] = {"seen", INT64, 2, 1},  [HELD] = {"held", REAL, 3, 1},    [LIMITS] = {"limits", REAL, 1, 0},
        [TALLY] = {"tally", INT64, 1, 1}, [COUNTS] = {"counts", UINT32, 4, 1},
        [SKETCHED] = {"sketched", INT32, 1, 0}, [TOP] = {"top", INT32, 1, 0},
    };
    if (open_all(object, forms, self->array, ARRAYS) != 0)
        return -1;
    self->opened = ARRAYS;
    tm_stream *stream = &self->stream;
    const char *misfit = misfit_of_arrays(self);
    if (misfit == NULL)
        misfit = misfit_of_sketches(self);
    if (misfit == NULL) {
        const Py_ssize_t *state = self->array[STATE].shape;
        stream->devices = (size_t)state[0], stream->panes = (size_t)state[1], stream->signals = (size_t)state[2];
        stream->capacity = (size_t)self->array[SEEN].shape[1];
        stream->state = self->array[STATE].buf, stream->start = self->array[START].buf;
        stream->marks = self->array[MARKS].buf, stream->seen = self->array[SEEN].buf;
        stream->held = self->array[HELD].shape[1] == 0 ? NULL : self->array[HELD].buf;
        stream->limits = self->array[LIMITS].buf, stream->tally = self->array[TALLY].buf;
        stream->sketches = (size_t)self->array[COUNTS].shape[2];
        stream->below = self->array[COUNTS].shape[3] > 1 + TM_SKETCH_SIDE ? TM_SKETCH_SIDE : 0;
        stream->counts = self->array[COUNTS].buf;
        stream->sketched = self->array[SKETCHED].buf, stream->top = self->array[TOP].buf;
        misfit = misfit_of_stream(stream);
    }
    if (misfit != NULL)
        PyErr_SetString(PyExc_ValueError, misfit);
    return misfit != NULL ? -1 : 0;
}

static PyObject *stream_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    (void)keywords;
    PyObject *object[ARRAYS];
    long long pane_us, every_us, lateness_us, room_us;
    Py_ssize_t most_open;
    if (!PyArg_ParseTuple(arguments, "OOOOOOOOOOLLLLn:Stream", &object[STATE], &object[START], &object[MARKS],
                          &object[SEEN], &object[HELD], &object[LIMITS], &object[TALLY], &object[COUNTS],
                          &object[SKETCHED], &object[TOP], &pane_us, &every_us, &lateness_us, &room_us, &most_open))
        return NULL;
    const allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Stream *self = (Stream *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    self->stream.pane_us = pane_us, self->stream.every_us = every_us;
    self->stream.lateness_us = lateness_us, self->stream.room_us = room_us;
    self->stream.most_open = most_open < 0 ? 0 : (size_t)most_open;
    if (stream_open(self, object) != 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void stream_dealloc(PyObject *object)
{
    Stream *self = (Stream *)object;
    PyTypeObject *type = Py_TYPE(object);
    while (self->opened > 0)
        PyBuffer_Release(&self->array[--self->opened]);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *taken(const Stream *self, const Py_buffer *device, const Py_buffer *time, const Py_buffer *values,
                       Py_ssize_t begin)
{
    const tm_stream *stream = &self->stream;
    const Py_ssize_t rows = device->shape[0];
    if (time->shape[0] != rows || values->shape[0] != rows || values->shape[1] != (Py_ssize_t)stream->signals ||
        begin < 0 || begin > rows) {
        PyErr_SetString(PyExc_ValueError,
                        "device, time and values must have one row each, values one column per signal");
        return NULL;
    }
    const int32_t *codes = (const int32_t *)device->buf + begin;
    const int64_t *times = (const int64_t *)time->buf + begin;
    const double *readings = (const double *)values->buf + (size_t)begin * stream->signals;
    const size_t rest = (size_t)(rows - begin);
    size_t fit, done = 0;
    Py_BEGIN_ALLOW_THREADS;
    fit = tm_stream_misfit(stream, codes, times, rest);
    if (fit == rest)
        done = tm_stream_take(stream, codes, times, readings, rest);
    Py_END_ALLOW_THREADS;
    if (fit != rest)
        return PyErr_Format(PyExc_ValueError, "row %zu has no such device, or a time beyond all calendars",
                            fit + (size_t)begin);
    return PyLong_FromSize_t(done + (size_t)begin);
}

PyDoc_STRVAR(take_doc, "take(device, time, values, begin)\n--\n\nTake in rows from `begin` on; see stream_reference.Stream.take.");

static PyObject *stream_take(PyObject *object, PyObject *arguments)
{
    enum { DEVICE, TIME, VALUES, COUNT };
    static const array forms[COUNT] = {{"device", INT32, 1, 0}, {"time", INT64, 1, 0}, {"values", REAL, 2, 0}};
    PyObject *given[COUNT];
    Py_buffer view[COUNT];
    Py_ssize_t begin;
    if (!PyArg_ParseTuple(arguments, "OOOn:take", given, given + 1, given + 2, &begin) ||
        open_all(given, forms, view, COUNT) != 0)
        return NULL;
    PyObject *result = taken((const Stream *)object, view + DEVICE, view + TIME, view + VALUES, begin);
    close_all(view, COUNT);
    return result;
}

enum { FEW = 64 }; /* signals of one reading that fit on the stack */

/* Reads the numbers of one reading from a tuple or list; -1 with an exception set where that fails. */
static int numbers(PyObject *sequence, double *values, Py_ssize_t count)
{
    const int list = PyList_Check(sequence);
    if (!list && !PyTuple_Check(sequence)) {
        PyErr_SetString(PyExc_ValueError, "values must be a tuple or a list of numbers");
        return -1;
    }
    if ((list ? PyList_Size(sequence) : PyTuple_Size(sequence)) != count) {
        PyErr_SetString(PyExc_ValueError, "values must hold one number per signal");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        values[i] = PyFloat_AsDouble(list ? PyList_GetItem(sequence, i) : PyTuple_GetItem(sequence, i));
        if (values[i] == -1.0 && PyErr_Occurred())
            return -1;
    }
    return 0;
}

PyDoc_STRVAR(take_one_doc, "take_one(device, time, values)\n--\n\nTake in one reading; see stream_reference.Stream.take_one.");

static PyObject *stream_take_one(PyObject *object, PyObject *arguments)
{
    const tm_stream *stream = &((const Stream *)object)->stream;
    int device;
    long long time;
    PyObject *sequence;
    double few[FEW], *values = few;
    if (!PyArg_ParseTuple(arguments, "iLO:take_one", &device, &time, &sequence))
        return NULL;
    if (stream->signals > FEW && (values = PyMem_Malloc(stream->signals * sizeof *values)) == NULL)
        return PyErr_NoMemory();
    PyObject *result = NULL;
    const int32_t code = device;
    const int64_t at = time;
    if (tm_stream_misfit(stream, &code, &at, 1) == 0)
        PyErr_SetString(PyExc_ValueError, "row 0 has no such device, or a time beyond all calendars");
    else if (numbers(sequence, values, (Py_ssize_t)stream->signals) == 0)
        result = PyLong_FromLong(tm_stream_take(stream, &code, &at, values, 1) == 0 ? 0 :
                                 stream->tally[TM_TALLY_DUE] == 0                    ? 1 :
                                                                                       2);
    if (values != few)
        PyMem_Free(values);
    return result;
}

static PyMethodDef stream_methods[] = {
    {"take", stream_take, METH_VARARGS, take_doc},
    {"take_one", stream_take_one, METH_VARARGS, take_one_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(stream_doc, "Readings in the order they arrive, summed up in rings of panes; see stream_reference.Stream.");

static PyType_Slot stream_slots[] = {
    {Py_tp_new, (void *)stream_new},
    {Py_tp_dealloc, (void *)stream_dealloc},
    {Py_tp_methods, stream_methods},
    {Py_tp_doc, (void *)stream_doc},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "features.kernel._pane.Stream",
    .basicsize = sizeof(Stream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stream_slots,
};

static int add_stream(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&stream_spec);
    const int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return result;
}

/* --------------------------------------------------------------------------------------------------------- Module */

static PyMethodDef methods[] = {
    {"add", add, METH_VARARGS, add_doc},
    {"burst", burst, METH_VARARGS, burst_doc},
    {"merge", merge, METH_VARARGS, merge_doc},
    {"find_runs", find_runs, METH_VARARGS, find_runs_doc},
    {"number_runs", number_runs, METH_VARARGS, number_runs_doc},
    {"sum_runs", sum_runs, METH_VARARGS, sum_runs_doc},
    {"fold", fold, METH_VARARGS, fold_doc},
    {"finalize", finalize, METH_VARARGS, finalize_doc},
    {"accumulate", accumulate, METH_VARARGS, accumulate_doc},
    {"sketch_runs", sketch_runs, METH_VARARGS, sketch_runs_doc},
    {NULL, NULL, 0, NULL},
};

/* The names of the statistics, in the order of their codes. */
static int add_statistics(PyObject *module)
{
    PyObject *names = Py_BuildValue("(ssssssssssssssss)", "count", "missing_share", "mean", "std", "min", "max", "range",
                                    "first", "last", "delta", "slope", "rms", "crest", "mean_absolute_change",
                                    "above_share", "since_last");
    const int failed = names == NULL ? -1 : PyModule_AddObjectRef(module, "STATISTICS", names);
    Py_XDECREF(names);
    return failed;
}

static int execute(PyObject *module)
{
    if (PyModule_AddIntConstant(module, "PANE_VERSION", TM_PANE_VERSION) != 0)
        return -1;
    if (PyModule_AddIntConstant(module, "FIELDS", TM_PANE_FIELDS) != 0)
        return -1;
    if (add_statistics(module) != 0)
        return -1;
    return add_stream(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "features.kernel._pane",
    .m_doc = "The pane kernel, compiled.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__pane(void)
{
    return PyModuleDef_Init(&definition);
}
