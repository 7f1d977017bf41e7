/* Records of numbers, from JSON to float64, for doors/native.py: what it reads with msgspec, in a third of the steps.

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

enum {
    MOST = 4096,  /* columns */
    DIGITS = 19,  /* digits that a 64-bit integer holds for certain */
    AHEAD = 7,    /* bytes that may be read behind a name's text, as it is read by words of eight */
};

typedef unsigned __int128 wide;

typedef struct {
    const char *text;  /* "name": with its quotes and colon */
    Py_ssize_t size;
    const char *last;  /* its last word, */
    uint64_t mask;     /* and which bits of that are its own */
    int cell;          /* its place in `names` */
    int whole;         /* an integer: neither point nor exponent, and exact as a float64 */
} Column;

typedef struct {
    PyObject_HEAD
    Py_ssize_t count;
    Py_ssize_t most;  /* bytes that the longest name's text is compared by */
    Column *columns;  /* as they came last time, which is nearly always the order of the next record */
    char *texts;
} Reader;

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t FIVES[] = {
    1ull, 5ull, 25ull, 125ull, 625ull, 3125ull, 15625ull, 78125ull, 390625ull, 1953125ull, 9765625ull, 48828125ull,
    244140625ull, 1220703125ull, 6103515625ull, 30517578125ull, 152587890625ull, 762939453125ull, 3814697265625ull,
    19073486328125ull, 95367431640625ull, 476837158203125ull, 2384185791015625ull, 11920928955078125ull,
    59604644775390625ull, 298023223876953125ull, 1490116119384765625ull, 7450580596923828125ull};

/* digits / 10**places, rounded once to the nearest float64, ties to even. digits > 0, 0 < places <= 27. */
static double quotient(uint64_t digits, int places)
{
    int up = __builtin_clzll(digits), wider = __builtin_clzll(FIVES[places]);
    uint64_t divisor = FIVES[places] << wider;         /* 2**63 <= divisor < 2**64 */
    wide dividend = (wide)(digits << up) << 62;        /* 2**125 <= dividend < 2**126 */
    uint64_t found = (uint64_t)(dividend / divisor);   /* 2**61 <= found < 2**63: 62 or 63 bits, a float64 has 53 */
    int rest = found * divisor != (uint64_t)dividend;  /* 64 bits tell: the rest is less than the divisor */
    /* float64s, and what lies halfway between two, are multiples of 2**8 here: the last bit can stand for the rest. The
       power is far from where float64s end, as 1e-27 <= the value < 2**64. */
    union { uint64_t bits; double value; } power = {(uint64_t)(1023 + wider - up - 62 - places) << 52};
    return (double)(int64_t)(found | (uint64_t)rest) * power.value;
}

/* Eight bytes, the first one lowest. */
static inline uint64_t word(const char *at)
{
    uint64_t found;
    memcpy(&found, at, sizeof found);
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    found = __builtin_bswap64(found);
#endif
    return found;
}

/* The digit at `at`; more than 9: none stands there. */
static inline unsigned digit(const char *at) { return (unsigned)(unsigned char)*at - '0'; }

/* Where the digits at `at` end. They are put behind `digits`, modulo 2**64: whoever asks looks how many they were.
   Before `safe` eight bytes can be read. */
static inline const char *run(const char *at, const char *safe, uint64_t *digits)
{
    while (at < safe && digit(at + 7) <= 9) {
        uint64_t eight = word(at) ^ 0x3030303030303030ull;  /* a digit is now 0 to 9, and nothing else is */
        if (((eight + 0x7676767676767676ull) | eight) & 0x8080808080808080ull)
            break;
        eight = eight * 10 + (eight >> 8);  /* in every second byte two of them, at most 99: then four, then eight */
        eight = (eight & 0xff000000ffull) * 0xf424000000064ull + (eight >> 16 & 0xff000000ffull) * 0x271000000001ull;
        *digits = *digits * 100000000 + (eight >> 32);
        at += 8;
    }
    for (unsigned next; (next = digit(at)) <= 9; at++)
        *digits = *digits * 10 + next;
    return at;
}

/* A number as JSON has it, at `at`. Where it ends; NULL: none, or none that can be read here. */
static inline const char *number(const char *at, const char *safe, int whole, double *value)
{
    int negative = *at == '-';
    const char *first = at += negative;
    uint64_t digits = digit(at++);
    if (digits > 9)
        return NULL;
    if (digits)
        for (unsigned next; (next = digit(at)) <= 9; at++)
            digits = digits * 10 + next;
    Py_ssize_t count = at - first, exponent = 0;
    const char *ending = at;
    if (count > DIGITS)
        return NULL;
    if (*at == '.') {
        const char *start = ++at;
        if (!digits) {
            count = 0;
            while (*at == '0')
                at++;
        }
        first = at;
        at = run(at, safe, &digits);
        count += at - first;
        if (at == start || count > DIGITS)
            return NULL;
        exponent = start - at;
    }
    if (*at >= 'E' && (*at == 'e' || *at == 'E')) {  /* a comma, which is nearly always there, is before E */
        int down = *++at == '-', power = 0;
        at += *at == '-' || *at == '+';
        first = at;
        for (unsigned next; (next = digit(at)) <= 9 && at - first < 4; at++)
            power = power * 10 + (int)next;
        if (at == first || at - first == 4)
            return NULL;
        exponent += down ? -power : power;
    }
    if (whole && at != ending)
        return NULL;
    double found;
    if (digits - 1 < 1ull << 53) {
        found = (double)(int64_t)digits;
        if (exponent <= 0 && exponent >= -22)
            found /= POWERS[-exponent];  /* both exact, so it is rounded once */
        else if (exponent > 0 && exponent <= 22)
            found *= POWERS[exponent];
        else if (exponent < 0 && exponent >= -27)
            found = quotient(digits, (int)-exponent);
        else
            return NULL;
    } else if (digits == 0) {
        if (negative)
            return NULL;  /* zero with a sign: rare, and an integer has none */
        found = 0.0;
    } else if (!whole && exponent <= 0 && exponent >= -27) {
        found = exponent ? quotient(digits, (int)-exponent) : (double)digits;
    } else {
        return NULL;
    }
    *value = negative ? -found : found;
    return at;
}

static inline const char *blanks(const char *at)
{
    if (*at == ' ')  /* nearly always one, or none */
        at++;
    while ((unsigned char)*at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* Whether the column's text stands at `at`, where as many bytes can be read as its words have. */
static inline int begins(const Column *column, const char *at)
{
    const char *text = column->text, *last = column->last;
    for (; text < last; text += 8, at += 8)
        if (word(at) != word(text))
            return 0;
    return ((word(at) ^ word(text)) & column->mask) == 0;
}

/* Where the value begins of the column that is named at `at`, one from `place` to `last`: it and that at `place` change
   places. NULL: none is. */
static const char *looked_up(Column *place, const Column *last, const char *at, const char *end)
{
    at = blanks(at);
    for (Column *column = place; column <= last; column++) {
        Py_ssize_t named = column->size - 1;  /* blanks may stand before the colon */
        if (end - at >= named && memcmp(at, column->text, (size_t)named) == 0) {
            Column found = *column;
            *column = *place;
            *place = found;
            at = blanks(at + named);
            return *at == ':' ? at + 1 : NULL;
        }
    }
    return NULL;
}

/* Whether the object at `at` is flawless up to `end`; its cells go to `cells`. */
static int record(Reader *self, const char *at, const char *end, double *cells)
{
    const char *safe = end - at > self->most ? end - self->most : at;  /* before it, `most` bytes can be read */
    Column *place = self->columns, *last = place + self->count - 1;
    at = blanks(at);
    if (*at != '{')
        return 0;
    for (;; place++) {  /* what came stands before `place`, so that nothing can come twice */
        at += at[1] == ' ' ? 2 : 1;
        if (at < safe && begins(place, at))
            at += place->size;
        else if ((at = looked_up(place, last, at, end)) == NULL)
            return 0;
        at = number(blanks(at), safe, place->whole, &cells[place->cell]);
        if (at == NULL)
            return 0;
        if (*at != ',') {
            at = blanks(at);
            if (*at != ',')
                return *at == '}' && place == last && blanks(at + 1) == end;
        }
        if (place == last)
            return 0;
    }
}

static PyObject *reader_read(PyObject *object, PyObject *body)
{
    Reader *self = (Reader *)object;
    char *start;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(body, &start, &size) < 0) {
        PyErr_Clear();  /* no bytes: msgspec reads others that are like them */
        Py_RETURN_NONE;
    }
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
    Py_ssize_t count = PyTuple_Size(names), bytes = AHEAD, most = 0;
    if (count < 1 || count > MOST || PyTuple_Size(whole) != count) {
        PyErr_Format(PyExc_ValueError, "1 to %d names, and as many truths", MOST);
        return NULL;
    }
    PyObject *once = PyFrozenSet_New(names);
    if (once == NULL)
        return NULL;
    int twice = PySet_Size(once) != count;
    Py_DECREF(once);
    if (twice) {
        PyErr_SetString(PyExc_ValueError, "a name came twice");
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
        bytes += size + 3;
        most = size + 3 + AHEAD > most ? size + 3 + AHEAD : most;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Reader *self = (Reader *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->count = count;
    self->most = most;
    self->columns = PyMem_Calloc((size_t)count, sizeof(Column));
    self->texts = PyMem_Calloc((size_t)bytes, 1);
    if (self->columns == NULL || self->texts == NULL) {
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
        to[0] = '"';
        memcpy(to + 1, text, (size_t)size);
        memcpy(to + 1 + size, "\":", 2);
        int part = (int)((size + 2) % 8 + 1);  /* bytes of the last word */
        const char *last = to + size + 3 - part;
        self->columns[index] = (Column){to, size + 3, last, ~0ull >> (64 - 8 * part), (int)index, truth};
        to += size + 3;
    }
    return (PyObject *)self;
}

static void reader_dealloc(PyObject *object)
{
    Reader *self = (Reader *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(self->columns);
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
static PyType_Spec READER = {"wherry.server.doors._flat.Reader", sizeof(Reader), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, SLOTS};

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
