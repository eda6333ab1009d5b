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
    return PyModule_AddIntConstant(module, "FIELDS", TM_PANE_FIELDS);
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
