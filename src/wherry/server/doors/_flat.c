/* Records of numbers, from JSON to float64, for doors/native.py: what it reads with msgspec, in a quarter of the steps.

   A reader takes only what is flawless beyond doubt: one object, every name once and no other, numbers that JSON has and
   that a float64 holds. Anything else is None, and msgspec decides what it is. So this never refuses anything, and needs
   no words for what is wrong. Nothing is read beyond the bytes given: CPython ends them with a zero, which is no JSON. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <float.h>
#include <stdint.h>
#include <string.h>

#if !defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0
#error "a product of two float64 would be rounded twice"
#endif

enum { MOST = 4096, DIGITS = 19 };  /* columns; digits that a 64-bit integer holds for certain */

typedef unsigned __int128 wide;

typedef struct {
    const char *text;  /* the name between its quotes, as JSON has it */
    Py_ssize_t size;
    int whole;         /* an integer: neither point nor exponent, and exact as a float64 */
} Column;

typedef struct {
    PyObject_HEAD
    Py_ssize_t count;
    Column *columns;
    uint16_t *order;   /* the column that came at each place last time: nearly always the next one again */
    char *texts;
} Reader;

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t FIVES[] = {
    1ull, 5ull, 25ull, 125ull, 625ull, 3125ull, 15625ull, 78125ull, 390625ull, 1953125ull, 9765625ull, 48828125ull,
    244140625ull, 1220703125ull, 6103515625ull, 30517578125ull, 152587890625ull, 762939453125ull, 3814697265625ull,
    19073486328125ull, 95367431640625ull, 476837158203125ull, 2384185791015625ull, 11920928955078125ull,
    59604644775390625ull, 298023223876953125ull, 1490116119384765625ull, 7450580596923828125ull};

/* digits / 10**places, rounded once to the nearest float64, ties to even. digits > 0, places <= 27. */
static double quotient(uint64_t digits, int places)
{
    int shift = 64 + __builtin_clzll(digits);
    wide dividend = (wide)digits << shift;
    uint64_t divisor = FIVES[places];
    wide whole = dividend / divisor;         /* at least 2**(127 - 63): more bits than a float64 has */
    int rest = dividend % divisor != 0;
    int bits = 128 - ((uint64_t)(whole >> 64) ? __builtin_clzll((uint64_t)(whole >> 64))
                                              : 64 + __builtin_clzll((uint64_t)whole));
    int extra = bits - 53;
    uint64_t kept = (uint64_t)(whole >> extra);
    wide below = whole & (((wide)1 << extra) - 1), half = (wide)1 << (extra - 1);
    if (below > half || (below == half && (rest || (kept & 1))))
        kept++;
    /* kept * 2**(extra - shift - places): far from where float64 end, as 1e-27 <= the value < 2**64 */
    int power = extra - shift - places;
    union { uint64_t bits; double value; } scale;
    scale.bits = (uint64_t)(1023 + power) << 52;
    return (double)kept * scale.value;
}

/* A number as JSON has it, at `at`. Where it ends; NULL: none, or none that can be read here. */
static const char *number(const char *at, int whole, double *value)
{
    uint64_t digits = 0;
    int count = 0, exponent = 0, negative = *at == '-';
    at += negative;
    if (*at == '0') {
        at++;
    } else {
        const char *start = at;
        while ((unsigned char)(*at - '0') < 10)
            digits = digits * 10 + (uint64_t)(*at++ - '0');
        if (at == start || at - start > DIGITS)
            return NULL;
        count = (int)(at - start);
    }
    if (whole && (*at == '.' || *at == 'e' || *at == 'E'))
        return NULL;
    if (*at == '.') {
        const char *start = ++at;
        if (!digits)
            while (*at == '0')
                at++;
        const char *first = at;
        while ((unsigned char)(*at - '0') < 10)
            digits = digits * 10 + (uint64_t)(*at++ - '0');
        if (at == start || at - first > DIGITS - count || at - start > 400)
            return NULL;
        exponent = (int)(start - at);
    }
    if (*at == 'e' || *at == 'E') {
        int down = *++at == '-', power = 0;
        at += *at == '-' || *at == '+';
        const char *start = at;
        while ((unsigned char)(*at - '0') < 10 && at - start < 4)
            power = power * 10 + (*at++ - '0');
        if (at == start || at - start == 4)
            return NULL;
        exponent += down ? -power : power;
    }
    if (!digits) {
        if (negative)
            return NULL;  /* zero with a sign: rare, and an integer has none */
        *value = 0.0;
        return at;
    }
    double found;
    if (digits <= (1ull << 53)) {
        if (exponent == 0)
            found = (double)digits;
        else if (exponent < 0 && exponent >= -22)
            found = (double)digits / POWERS[-exponent];  /* both exact, so it is rounded once */
        else if (exponent > 0 && exponent <= 22)
            found = (double)digits * POWERS[exponent];
        else if (exponent < 0 && exponent >= -27)
            found = quotient(digits, -exponent);
        else
            return NULL;
    } else if (!whole && exponent <= 0 && exponent >= -27) {
        found = exponent ? quotient(digits, -exponent) : (double)digits;
    } else {
        return NULL;
    }
    *value = negative ? -found : found;
    return at;
}

static inline const char *blanks(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
        at++;
    return at;
}

/* Which column is named at `at`, behind the quote; -1: none. `left`: bytes up to the end. */
static Py_ssize_t column(Reader *self, const char *at, Py_ssize_t left, Py_ssize_t place)
{
    Py_ssize_t guess = self->order[place];
    const Column *found = &self->columns[guess];
    if (found->size < left && at[found->size] == '"' && memcmp(at, found->text, (size_t)found->size) == 0)
        return guess;
    for (Py_ssize_t index = 0; index < self->count; index++) {
        found = &self->columns[index];
        if (found->size < left && at[found->size] == '"' && memcmp(at, found->text, (size_t)found->size) == 0) {
            self->order[place] = (uint16_t)index;
            return index;
        }
    }
    return -1;
}

/* Whether the object at `at` is flawless up to `end`; its cells go to `cells`. */
static int record(Reader *self, const char *at, const char *end, double *cells)
{
    unsigned char seen[MOST];
    memset(seen, 0, (size_t)self->count);
    at = blanks(at);
    if (*at++ != '{')
        return 0;
    for (Py_ssize_t place = 0; place < self->count; place++) {
        at = blanks(at);
        if (*at++ != '"')
            return 0;
        Py_ssize_t index = column(self, at, end - at, place);
        if (index < 0 || seen[index])
            return 0;
        seen[index] = 1;
        at = blanks(at + self->columns[index].size + 1);
        if (*at++ != ':')
            return 0;
        at = number(blanks(at), self->columns[index].whole, &cells[index]);
        if (at == NULL)
            return 0;
        at = blanks(at);
        if (*at++ != (place == self->count - 1 ? '}' : ','))
            return 0;
    }
    return blanks(at) == end;
}

static PyObject *reader_read(PyObject *object, PyObject *body)
{
    Reader *self = (Reader *)object;
    char *start;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(body, &start, &size) < 0)
        return NULL;
    PyObject *row = PyBytes_FromStringAndSize(NULL, self->count * (Py_ssize_t)sizeof(double));
    if (row == NULL)
        return NULL;
    if (record(self, start, start + size, (double *)PyBytes_AsString(row)))
        return row;
    Py_DECREF(row);
    Py_RETURN_NONE;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *known[] = {"names", "whole", NULL};
    PyObject *names, *whole;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!:Reader", known, &PyTuple_Type, &names, &PyTuple_Type, &whole))
        return NULL;
    Py_ssize_t count = PyTuple_Size(names), bytes = 0;
    if (count < 1 || count > MOST || PyTuple_Size(whole) != count) {
        PyErr_Format(PyExc_ValueError, "1 to %d names, and as many truths", MOST);
        return NULL;
    }
    for (Py_ssize_t index = 0; index < count; index++) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(names, index), &size);
        if (text == NULL)
            return NULL;
        for (Py_ssize_t place = 0; place < size; place++) {
            if ((unsigned char)text[place] < 0x20 || text[place] == '"' || text[place] == '\\') {
                PyErr_SetString(PyExc_ValueError, "JSON writes this name in more than one way");
                return NULL;
            }
        }
        bytes += size;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Reader *self = (Reader *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->count = count;
    self->columns = PyMem_Calloc((size_t)count, sizeof(Column));
    self->order = PyMem_Calloc((size_t)count, sizeof(uint16_t));
    self->texts = PyMem_Calloc((size_t)bytes + 1, 1);
    if (self->columns == NULL || self->order == NULL || self->texts == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    char *to = self->texts;
    for (Py_ssize_t index = 0; index < count; index++) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(names, index), &size);
        int truth = PyObject_IsTrue(PyTuple_GetItem(whole, index));
        if (text == NULL || truth < 0) {
            Py_DECREF(self);
            return NULL;
        }
        memcpy(to, text, (size_t)size);
        self->columns[index] = (Column){to, size, truth};
        self->order[index] = (uint16_t)index;
        to += size;
    }
    return (PyObject *)self;
}

static void reader_dealloc(PyObject *object)
{
    Reader *self = (Reader *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(self->columns);
    PyMem_Free(self->order);
    PyMem_Free(self->texts);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef METHODS[] = {
    {"read", reader_read, METH_O,
     "The cells of the record in `body`, in the order of `names`, as float64 of this machine; None: msgspec decides."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot SLOTS[] = {{Py_tp_new, reader_new},
                              {Py_tp_dealloc, reader_dealloc},
                              {Py_tp_methods, METHODS},
                              {Py_tp_doc, "Reader(names, whole): reads records that have these names, each an integer or not."},
                              {0, NULL}};
static PyType_Spec READER = {"wherry.server.doors._flat.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT, SLOTS};

static int filled(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&READER);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Reader", type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot PARTS[] = {{Py_mod_exec, filled}, {0, NULL}};
static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_flat", "Records of numbers, from JSON to float64.", 0, NULL, PARTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__flat(void) { return PyModuleDef_Init(&MODULE); }
