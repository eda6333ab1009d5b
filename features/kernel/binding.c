/* The Python side of the pane kernel: two functions over buffers, in the stable ABI of Python 3.11.
 *
 * Everything a buffer can get wrong is refused here with ValueError, before the kernel sees it; the loops run without
 * the GIL. features/kernel/reference.py has the same two functions in numpy, with the same refusals.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "pane.h"

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(tm_pane) == TM_PANE_FIELDS * sizeof(double), "a pane is a row of doubles");
#endif

enum { REAL, INTEGER };

/* Fills `view` with the buffer of `object`; on refusal sets ValueError and returns -1 with nothing to release. */
static int open_buffer(PyObject *object, Py_buffer *view, int element, int dimensions, int writable, const char *name)
{
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) != 0) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s must be a C-contiguous%s array", name, writable ? ", writable" : "");
        return -1;
    }
    const char *format = view->format != NULL ? view->format : "B";
    const int fits = element == REAL ? strcmp(format, "d") == 0 : (strcmp(format, "l") == 0 || strcmp(format, "q") == 0);
    const char *fault = NULL;
    if (!fits || view->itemsize != 8)
        fault = element == REAL ? "must hold float64" : "must hold int64";
    else if (dimensions > 0 ? view->ndim != dimensions : view->ndim < 1)
        fault = "has the wrong number of dimensions";
    else if ((uintptr_t)view->buf % 8 != 0)
        fault = "must be aligned";
    if (fault == NULL)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s %s", name, fault);
    PyBuffer_Release(view);
    return -1;
}

static PyObject *add_checked(const Py_buffer *panes, const Py_buffer *group, const Py_buffer *at,
                             const Py_buffer *values, const Py_buffer *limits)
{
    const Py_ssize_t groups = panes->shape[0], signals = panes->shape[1], rows = values->shape[0];
    if (panes->shape[2] != TM_PANE_FIELDS)
        return PyErr_Format(PyExc_ValueError, "panes must have %d fields", TM_PANE_FIELDS);
    if (group->shape[0] != rows || at->shape[0] != rows || values->shape[1] != signals) {
        PyErr_SetString(PyExc_ValueError, "group, at and values must have one row each, values one column per signal");
        return NULL;
    }
    if (limits->shape[0] != signals) {
        PyErr_SetString(PyExc_ValueError, "limits must hold one number per signal");
        return NULL;
    }
    size_t done;
    Py_BEGIN_ALLOW_THREADS;
    done = tm_panes_add(panes->buf, (size_t)groups, (size_t)signals, group->buf, at->buf, values->buf,
                        limits->buf, (size_t)rows);
    Py_END_ALLOW_THREADS;
    if (done != (size_t)rows)
        return PyErr_Format(PyExc_ValueError, "row %zu belongs to a group that does not exist", done);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(add_doc, "add(panes, group, at, values, limits)\n--\n\nAdd rows of readings to panes in place; see reference.add.");

static PyObject *add(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *object[5];
    Py_buffer panes, group, at, values, limits;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "OOOOO:add", &object[0], &object[1], &object[2], &object[3], &object[4]))
        return NULL;
    if (open_buffer(object[0], &panes, REAL, 3, 1, "panes") != 0)
        return NULL;
    if (open_buffer(object[1], &group, INTEGER, 1, 0, "group") != 0)
        goto release_panes;
    if (open_buffer(object[2], &at, REAL, 1, 0, "at") != 0)
        goto release_group;
    if (open_buffer(object[3], &values, REAL, 2, 0, "values") != 0)
        goto release_at;
    if (open_buffer(object[4], &limits, REAL, 1, 0, "limits") != 0)
        goto release_values;
    result = add_checked(&panes, &group, &at, &values, &limits);
    PyBuffer_Release(&limits);
release_values:
    PyBuffer_Release(&values);
release_at:
    PyBuffer_Release(&at);
release_group:
    PyBuffer_Release(&group);
release_panes:
    PyBuffer_Release(&panes);
    return result;
}

static PyObject *merge_checked(const Py_buffer *left, const Py_buffer *right, const Py_buffer *shift)
{
    const Py_ssize_t count = left->len / (Py_ssize_t)sizeof(tm_pane);
    const Py_ssize_t shifts = shift->shape[0];
    if (left->shape[left->ndim - 1] != TM_PANE_FIELDS)
        return PyErr_Format(PyExc_ValueError, "panes must have %d fields", TM_PANE_FIELDS);
    if (left->ndim != right->ndim ||
        memcmp(left->shape, right->shape, (size_t)left->ndim * sizeof left->shape[0]) != 0) {
        PyErr_SetString(PyExc_ValueError, "left and right must have one shape");
        return NULL;
    }
    if (shifts != 1 && shifts != count) {
        PyErr_SetString(PyExc_ValueError, "shift must hold one number, or one per pane");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    tm_panes_merge(left->buf, right->buf, (size_t)count, shift->buf, (size_t)shifts);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(merge_doc, "merge(left, right, shift)\n--\n\nMerge panes into `left` in place; see reference.merge.");

static PyObject *merge(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *object[3];
    Py_buffer left, right, shift;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(arguments, "OOO:merge", &object[0], &object[1], &object[2]))
        return NULL;
    if (open_buffer(object[0], &left, REAL, 0, 1, "left") != 0)
        return NULL;
    if (open_buffer(object[1], &right, REAL, 0, 0, "right") != 0)
        goto release_left;
    if (open_buffer(object[2], &shift, REAL, 1, 0, "shift") != 0)
        goto release_right;
    result = merge_checked(&left, &right, &shift);
    PyBuffer_Release(&shift);
release_right:
    PyBuffer_Release(&right);
release_left:
    PyBuffer_Release(&left);
    return result;
}

/* ---- Bursts ---- */

static PyObject *burst_checked(const Py_buffer *samples, double rate, const Py_buffer *twiddles, const Py_buffer *bands,
                               const Py_buffer *result)
{
    const Py_ssize_t segment = twiddles->shape[0];
    if (bands->shape[1] != 2 || result->shape[0] != TM_BURST_RESULTS + bands->shape[0]) {
        PyErr_SetString(PyExc_ValueError, "bands must be pairs, and result hold four numbers and one for each of them");
        return NULL;
    }
    tm_real *scratch = PyMem_Malloc(TM_BURST_SCRATCH(segment > 0 ? segment : 1) * sizeof(tm_real));
    if (scratch == NULL)
        return PyErr_NoMemory();
    size_t done;
    Py_BEGIN_ALLOW_THREADS;
    done = tm_burst(samples->buf, (size_t)samples->shape[0], rate, twiddles->buf, (size_t)segment, bands->buf,
                    (size_t)bands->shape[0], scratch, result->buf);
    Py_END_ALLOW_THREADS;
    PyMem_Free(scratch);
    if (done == 0) {
        PyErr_SetString(PyExc_ValueError, "the segment, a band or the length of the burst is not possible");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(burst_doc, "burst(samples, rate, twiddles, bands, result)\n--\n\nStatistics of a burst; see burst_reference.burst.");

static PyObject *burst(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *object[4], *answer = NULL;
    double rate;
    Py_buffer samples, twiddles, bands, result;
    if (!PyArg_ParseTuple(arguments, "OdOOO:burst", &object[0], &rate, &object[1], &object[2], &object[3]))
        return NULL;
    if (open_buffer(object[0], &samples, REAL, 1, 0, "samples") != 0)
        return NULL;
    if (open_buffer(object[1], &twiddles, REAL, 1, 0, "twiddles") != 0)
        goto release_samples;
    if (open_buffer(object[2], &bands, INTEGER, 2, 0, "bands") != 0)
        goto release_twiddles;
    if (open_buffer(object[3], &result, REAL, 1, 1, "result") != 0)
        goto release_bands;
    answer = burst_checked(&samples, rate, &twiddles, &bands, &result);
    PyBuffer_Release(&result);
release_bands:
    PyBuffer_Release(&bands);
release_twiddles:
    PyBuffer_Release(&twiddles);
release_samples:
    PyBuffer_Release(&samples);
    return answer;
}

/* --------------------------------------------------------------------------------------------------------- Stream */

/* The arrays a stream stands on, held open as long as it lives: a reading must not pay for looking at each of them. */
enum { STATE, START, MARKS, SEEN, HELD, LIMITS, TALLY, ARRAYS };

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
    static const struct {
        const char *name;
        int element, dimensions, writable;
    } expected[ARRAYS] = {
        [STATE] = {"state", REAL, 4, 1}, [START] = {"start", INTEGER, 2, 1},  [MARKS] = {"marks", INTEGER, 2, 1},
        [SEEN] = {"seen", INTEGER, 2, 1}, [HELD] = {"held", REAL, 3, 1},      [LIMITS] = {"limits", REAL, 1, 0},
        [TALLY] = {"tally", INTEGER, 1, 1},
    };
    for (; self->opened < ARRAYS; self->opened++) {
        const int i = self->opened;
        if (open_buffer(object[i], &self->array[i], expected[i].element, expected[i].dimensions, expected[i].writable,
                        expected[i].name) != 0)
            return -1;
    }
    tm_stream *stream = &self->stream;
    const char *misfit = misfit_of_arrays(self);
    if (misfit == NULL) {
        const Py_ssize_t *state = self->array[STATE].shape;
        stream->devices = (size_t)state[0], stream->panes = (size_t)state[1], stream->signals = (size_t)state[2];
        stream->capacity = (size_t)self->array[SEEN].shape[1];
        stream->state = self->array[STATE].buf, stream->start = self->array[START].buf;
        stream->marks = self->array[MARKS].buf, stream->seen = self->array[SEEN].buf;
        stream->held = self->array[HELD].shape[1] == 0 ? NULL : self->array[HELD].buf;
        stream->limits = self->array[LIMITS].buf, stream->tally = self->array[TALLY].buf;
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
    if (!PyArg_ParseTuple(arguments, "OOOOOOOLLLLn:Stream", &object[STATE], &object[START], &object[MARKS],
                          &object[SEEN], &object[HELD], &object[LIMITS], &object[TALLY], &pane_us, &every_us,
                          &lateness_us, &room_us, &most_open))
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

/* Fills `view` with int32 codes of devices. */
static int open_codes(PyObject *object, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
        PyErr_Clear();
    } else if (view->format != NULL && strchr("il", view->format[0]) != NULL && view->format[1] == 0 &&
               view->itemsize == 4 && view->ndim == 1 && (uintptr_t)view->buf % 4 == 0) {
        return 0;
    } else {
        PyBuffer_Release(view);
    }
    PyErr_SetString(PyExc_ValueError, "device must be a C-contiguous, aligned array of int32 with one dimension");
    return -1;
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
    PyObject *given[3], *result = NULL;
    Py_ssize_t begin;
    Py_buffer device, time, values;
    if (!PyArg_ParseTuple(arguments, "OOOn:take", &given[0], &given[1], &given[2], &begin))
        return NULL;
    if (open_codes(given[0], &device) != 0)
        return NULL;
    if (open_buffer(given[1], &time, INTEGER, 1, 0, "time") != 0)
        goto release_device;
    if (open_buffer(given[2], &values, REAL, 2, 0, "values") != 0)
        goto release_time;
    result = taken((const Stream *)object, &device, &time, &values, begin);
    PyBuffer_Release(&values);
release_time:
    PyBuffer_Release(&time);
release_device:
    PyBuffer_Release(&device);
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
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    if (PyModule_AddIntConstant(module, "PANE_VERSION", TM_PANE_VERSION) != 0)
        return -1;
    if (PyModule_AddIntConstant(module, "FIELDS", TM_PANE_FIELDS) != 0)
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
