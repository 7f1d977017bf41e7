/* Requests that a sum answers, from the bytes of a packet to the reply in one call: for protocol.py and quick.py.

   A Quick answers only where nothing is in doubt: a record that its reader takes, a class that no order of adding could
   change, a lease that has not ended. Anything else is None, and Python answers as it would without it. So this refuses
   nothing and needs no words for what is wrong; what it answers waits in no queue, so there is none to be full. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

enum {
    COLUMNS = 256,   /* of more, a batch is worth its wait, */
    MOST = 1 << 14,  /* and of more products of one answer */
    CLASSES = 64,
    BUCKETS = 64,
    TAIL = 20,       /* characters of an id between its time and its number */
    ID = 36,
    NUMBERS = 4096,  /* of one millisecond */
    LONGEST = 2048,  /* bytes of a header that may be known, as in heads.py */
};
enum { SIGN, ARGMAX, VOTES }; /* as Linear's `decide` has them */

#define SLACK (4 * 2.220446049250313e-16) /* for each product and addition: four times what two orders can differ by, */
#define TINY 1e-300                       /* and of products that are too small for that */
#define LARGE 1e300                       /* what is smaller than this in all is finite in any order */

typedef struct {
    PyObject_HEAD
    PyObject *read;    /* bytes of a body -> float64 of its cells, or None */
    PyObject *weights; /* bytes: k sums of n float64, one after the other; */
    PyObject *bias;    /* of k */
    PyObject *ranges;  /* of n lowest, then n highest */
    PyObject *bounds;  /* of the histogram of latencies */
    PyObject *tails;   /* tuple of bytes: how the reply ends that answers with each class */
    PyObject *middle;  /* bytes between its two ids */
    PyObject *begun;   /* bytes before them; NULL: no lease yet */
    Py_buffer counts;  /* float64 of the board, */
    Py_ssize_t *places; /* and where in it, as Metrics.quick_places names them */
    int decide, columns, sums, classes, buckets;
    double until;      /* end of the lease, by the monotonic clock */
    int64_t moment;    /* millisecond of the last id, */
    int used;          /* and how many there were in it */
    char id[ID];       /* the next one, but for its number */
} Quick;

/* Where `places` has what. */
enum { REQUESTS, LATENCY_SUM, ROWS, SECONDS, BATCHES, BATCH_SUM, OUTSIDE, FIXED };

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#ifdef __APPLE__
#define STEADY CLOCK_UPTIME_RAW /* time.monotonic's */
#else
#define STEADY CLOCK_MONOTONIC
#endif

static inline const double *doubles(PyObject *bytes) { return (const double *)(void *)PyBytes_AsString(bytes); }

/* The sum number `which` of `cells`, and how far from it the same sum can be in another order of adding, or with
   products that are not rounded. Both are NaN or infinite where that cannot be told. */
static inline double summed(const Quick *self, const double *cells, int which, double *far)
{
    const double *weights = doubles(self->weights) + (Py_ssize_t)which * self->columns;
    double bias = doubles(self->bias)[which], sum = bias, size = fabs(bias);
    for (int place = 0; place < self->columns; place++) {
        double product = cells[place] * weights[place];
        sum += product;
        size += fabs(product);
    }
    *far = size < LARGE ? size * SLACK * (self->columns + 2) + TINY : NAN;
    return sum;
}

/* The class that `cells` are of; -1: it could be told only by how the sums are rounded. */
static int decided(const Quick *self, const double *cells)
{
    double far;
    if (self->decide == SIGN) {
        double sum = summed(self, cells, 0, &far);
        return fabs(sum) > far ? sum > 0.0 : -1;
    }
    if (self->decide == ARGMAX) {
        double sums[CLASSES], fars[CLASSES];
        int best = 0;
        for (int which = 0; which < self->sums; which++) {
            sums[which] = summed(self, cells, which, &fars[which]);
            if (sums[which] > sums[best])
                best = which;
        }
        for (int which = 0; which < self->sums; which++)
            if (which != best && !(sums[best] - sums[which] > fars[best] + fars[which]))
                return -1;
        return best;
    }
    int votes[CLASSES] = {0}, pair = 0, best = 0;
    for (int one = 0; one < self->classes; one++) {
        for (int other = one + 1; other < self->classes; other++, pair++) {
            double sum = summed(self, cells, pair, &far);
            if (!(fabs(sum) > far))
                return -1;
            votes[sum > 0.0 ? one : other]++;
        }
    }
    for (int which = 1; which < self->classes; which++)
        if (votes[which] > votes[best])
            best = which;
    return best;
}

static int outside(const Quick *self, const double *cells)
{
    const double *lows = doubles(self->ranges), *highs = lows + self->columns;
    int found = 0;
    for (int place = 0; place < self->columns; place++)
        found += (cells[place] < lows[place]) | (cells[place] > highs[place]);
    return found;
}

static void hexadecimal(char *to, int digits, uint64_t value)
{
    while (digits--) {
        to[digits] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* Whether there is another UUIDv7 for this millisecond; it stands in `id` then. */
static int numbered(Quick *self)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t moment = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (moment < self->moment)
        return 0; /* the clock was set back: until the next lease ids could come twice */
    if (moment != self->moment) {
        hexadecimal(self->id, 8, (uint64_t)moment >> 16);
        self->id[8] = '-';
        hexadecimal(self->id + 9, 4, (uint64_t)moment);
        self->moment = moment;
        self->used = 0;
    } else if (self->used == NUMBERS) {
        return 0;
    }
    hexadecimal(self->id + ID - 3, 3, (uint64_t)self->used++);
    return 1;
}

static char *put(char *to, PyObject *bytes)
{
    Py_ssize_t size = PyBytes_Size(bytes);
    return (char *)memcpy(to, PyBytes_AsString(bytes), (size_t)size) + size;
}

static PyObject *written(const Quick *self, PyObject *tail)
{
    Py_ssize_t size = PyBytes_Size(self->begun) + PyBytes_Size(self->middle) + PyBytes_Size(tail) + 2 * ID;
    PyObject *reply = PyBytes_FromStringAndSize(NULL, size);
    if (reply == NULL)
        return NULL;
    char *to = put(PyBytes_AsString(reply), self->begun);
    to = put((char *)memcpy(to, self->id, ID) + ID, self->middle);
    put((char *)memcpy(to, self->id, ID) + ID, tail);
    return reply;
}

/* The reply to a request that came at `started` with `body`; None: Python answers. What it counts is counted. */
static PyObject *answered(Quick *self, PyObject *body, double started)
{
    if (self->begun == NULL || !(started < self->until))
        Py_RETURN_NONE;
    PyObject *block = PyObject_CallFunctionObjArgs(self->read, body, NULL);
    if (block == NULL || block == Py_None)
        return block;
    if (!PyBytes_Check(block) || PyBytes_Size(block) != self->columns * (Py_ssize_t)sizeof(double)) {
        Py_DECREF(block);
        PyErr_SetString(PyExc_ValueError, "the reader is not of these columns");
        return NULL;
    }
    double before = seconds(STEADY);
    const double *cells = doubles(block);
    int found = decided(self, cells);
    double now = seconds(STEADY);
    int strange = outside(self, cells);
    Py_DECREF(block);
    if (found < 0 || !numbered(self))
        Py_RETURN_NONE;
    PyObject *reply = written(self, PyTuple_GetItem(self->tails, found));
    if (reply == NULL)
        return NULL;
    double *counts = self->counts.buf, took = now - started;
    const double *bounds = doubles(self->bounds);
    const Py_ssize_t *places = self->places, *latencies = places + FIXED, *classes = latencies + self->buckets;
    int bucket = 0;
    while (bucket < self->buckets - 1 && bounds[bucket] < took)
        bucket++;
    counts[places[REQUESTS]] += 1.0;
    counts[latencies[bucket]] += 1.0;
    counts[places[LATENCY_SUM]] += took;
    counts[places[ROWS]] += 1.0;
    counts[places[SECONDS]] += now - before;
    counts[places[BATCHES]] += 1.0;
    counts[places[BATCH_SUM]] += 1.0;
    counts[places[OUTSIDE]] += (double)strange;
    counts[classes[found]] += 1.0;
    return reply;
}

static PyObject *quick_answer(PyObject *object, PyObject *args)
{
    PyObject *body;
    double started;
    if (!PyArg_ParseTuple(args, "Sd:answer", &body, &started))
        return NULL;
    return answered((Quick *)object, body, started);
}

static PyObject *quick_lease(PyObject *object, PyObject *args)
{
    Quick *self = (Quick *)object;
    PyObject *begun, *tail;
    double until;
    if (!PyArg_ParseTuple(args, "SSd:lease", &begun, &tail, &until))
        return NULL;
    if (PyBytes_Size(tail) != TAIL) {
        PyErr_Format(PyExc_ValueError, "%d characters stand between an id's time and its number", TAIL);
        return NULL;
    }
    memcpy(self->id + ID - 3 - TAIL, PyBytes_AsString(tail), TAIL);
    self->moment = -1;
    self->until = until;
    PyObject *old = self->begun;
    Py_INCREF(begun);
    self->begun = begun;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

/* Whether `bytes` holds so many float64. */
static int holds(PyObject *bytes, Py_ssize_t count) { return PyBytes_Size(bytes) == count * (Py_ssize_t)sizeof(double); }

/* NULL, or what is wrong with what a Quick was made of. */
static const char *unfit(Quick *self, PyObject *places)
{
    Py_ssize_t columns = PyBytes_Size(self->ranges) / 16, sums = PyBytes_Size(self->bias) / 8;
    Py_ssize_t classes = PyTuple_Size(self->tails), bounds = PyBytes_Size(self->bounds) / 8;
    if (columns < 1 || sums < 1 || columns > COLUMNS || sums > MOST || columns * sums > MOST)
        return "too many columns or sums, or none";
    if (classes < 2 || classes > CLASSES || bounds < 1 || bounds >= BUCKETS)
        return "too many classes or bounds, or too few";
    if (!holds(self->ranges, 2 * columns) || !holds(self->bias, sums) || !holds(self->weights, columns * sums))
        return "columns, weights and sums do not fit";
    if (self->decide < SIGN || self->decide > VOTES)
        return "no such way to decide";
    if (sums != (self->decide == SIGN ? 1 : self->decide == ARGMAX ? classes : classes * (classes - 1) / 2))
        return "sums and classes do not fit";
    if (self->decide == SIGN && classes != 2)
        return "a sign tells two classes";
    for (Py_ssize_t place = 0; place < classes; place++)
        if (!PyBytes_Check(PyTuple_GetItem(self->tails, place)))
            return "a reply ends with bytes";
    if (self->counts.itemsize != 8 || self->counts.format == NULL || strcmp(self->counts.format, "d") != 0)
        return "counts are float64";
    if ((uintptr_t)self->counts.buf % sizeof(double) != 0)
        return "counts are not where float64 can stand";
    if (PyTuple_Size(places) != FIXED + bounds + 1 + classes)
        return "another number of places is needed";
    self->columns = (int)columns;
    self->sums = (int)sums;
    self->classes = (int)classes;
    self->buckets = (int)bounds + 1;
    return NULL;
}

static PyObject *quick_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *known[] = {"read", "decide", "weights", "bias",   "ranges", "bounds",
                            "tails", "middle", "counts", "places", NULL};
    PyObject *read, *weights, *bias, *ranges, *bounds, *tails, *middle, *counts, *places;
    int decide;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OiSSSSO!SOO!:Quick", known, &read, &decide, &weights, &bias,
                                     &ranges, &bounds, &PyTuple_Type, &tails, &middle, &counts, &PyTuple_Type, &places))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Quick *self = (Quick *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    PyObject *held[] = {read, weights, bias, ranges, bounds, tails, middle};
    for (size_t place = 0; place < sizeof held / sizeof *held; place++)
        Py_INCREF(held[place]);
    self->read = read;
    self->weights = weights;
    self->bias = bias;
    self->ranges = ranges;
    self->bounds = bounds;
    self->tails = tails;
    self->middle = middle;
    self->decide = decide;
    self->moment = -1;
    if (PyObject_GetBuffer(counts, &self->counts, PyBUF_CONTIG | PyBUF_FORMAT) < 0)
        goto failed;
    const char *wrong = unfit(self, places);
    if (wrong != NULL) {
        PyErr_SetString(PyExc_ValueError, wrong);
        goto failed;
    }
    Py_ssize_t many = PyTuple_Size(places);
    self->places = PyMem_Calloc((size_t)many, sizeof *self->places);
    if (self->places == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t index = 0; index < many; index++) {
        Py_ssize_t place = PyLong_AsSsize_t(PyTuple_GetItem(places, index));
        if (place == -1 && PyErr_Occurred())
            goto failed;
        if (place < 0 || place >= self->counts.len / 8) {
            PyErr_SetString(PyExc_ValueError, "a place is not among the counts");
            goto failed;
        }
        self->places[index] = place;
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static int quick_traverse(PyObject *object, visitproc visit, void *arg)
{
    Quick *self = (Quick *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->read);
    Py_VISIT(self->tails);
    return 0; /* the view of the counts leads nowhere, and CPython crashes when it clears one that is borrowed */
}

static void quick_dealloc(PyObject *object)
{
    Quick *self = (Quick *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    PyObject *held[] = {self->read,  self->weights, self->bias,  self->ranges,
                        self->bounds, self->tails,   self->middle, self->begun};
    for (size_t place = 0; place < sizeof held / sizeof *held; place++)
        Py_XDECREF(held[place]);
    if (self->counts.obj != NULL)
        PyBuffer_Release(&self->counts);
    PyMem_Free(self->places);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* A connection's beginning: what Python looks at for every request that is not answered here, and what it is told. */
typedef struct {
    PyObject_HEAD
    PyObject *state, *since, *fresh, *owed, *held, *writable; /* as protocol.py has them */
    PyObject *write;                                          /* the transport's */
    PyObject *ways; /* dict: a header block without its empty line -> (Quick, length of the body that follows) */
} Line;

static PyTypeObject *quick_type; /* the last import's: a Quick of another interpreter is left to Python */
static PyObject *read_name, *idle;

/* Where the empty line that ends a header begins, its line's end included; NULL: nowhere. */
static const char *header_end(const char *at, Py_ssize_t size)
{
    const char *last = at + size - 4;
    while (at <= last && (at = memchr(at, '\r', (size_t)(last - at) + 1)) != NULL) {
        if (memcmp(at, "\r\n\r\n", 4) == 0)
            return at;
        at++;
    }
    return NULL;
}

/* The Quick of `way`, where that is one and for a body of so many bytes; borrowed. NULL: it is not. */
static PyObject *quick_of(PyObject *way, Py_ssize_t size)
{
    if (!PyTuple_Check(way) || PyTuple_Size(way) != 2 || !Py_IS_TYPE(PyTuple_GetItem(way, 0), quick_type) ||
        PyLong_AsSsize_t(PyTuple_GetItem(way, 1)) != size)
        return NULL;
    return PyTuple_GetItem(way, 0);
}

/* None; NULL after an error. */
static PyObject *none(void)
{
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* The reply to `data`, where that is one whole request whose header is in `ways`; None: Python reads it. */
static PyObject *looked_up(Line *line, PyObject *ways, PyObject *data, double *now)
{
    char *start;
    Py_ssize_t size;
    if (line->state != idle || line->writable != Py_True || line->held != Py_False || line->owed == NULL ||
        line->write == NULL || ways == NULL || !PyDict_Check(ways) || PyDict_Size(ways) == 0 || !PyBytes_Check(data))
        return none();
    if (PyObject_Size(line->owed) != 0 || PyBytes_AsStringAndSize(data, &start, &size) < 0)
        return none();
    const char *end = header_end(start, size);
    if (end == NULL || end - start > LONGEST)
        return none();
    PyObject *head = PyBytes_FromStringAndSize(start, end - start);
    if (head == NULL)
        return NULL;
    PyObject *way = PyDict_GetItemWithError(ways, head);
    Py_XINCREF(way); /* whoever is called may forget the header */
    Py_DECREF(head);
    if (way == NULL)
        return none();
    Py_ssize_t rest = start + size - end - 4;
    PyObject *quick = quick_of(way, rest), *body = NULL, *reply = NULL;
    if (quick == NULL) {
        reply = none();
    } else if ((body = PyBytes_FromStringAndSize(end + 4, rest)) != NULL) {
        *now = seconds(STEADY);
        reply = answered((Quick *)quick, body, *now);
        Py_DECREF(body);
    }
    Py_DECREF(way);
    return reply;
}

static void put_in(PyObject **place, PyObject *object)
{
    PyObject *old = *place;
    *place = object;
    Py_XDECREF(old);
}

static PyObject *line_data_received(PyObject *object, PyObject *data)
{
    Line *line = (Line *)object;
    double now = 0.0;
    PyObject *write = line->write, *ways = line->ways; /* the connection may be lost while it reads or writes */
    Py_XINCREF(write);
    Py_XINCREF(ways);
    PyObject *reply = looked_up(line, ways, data, &now), *done = NULL, *since = NULL;
    if (reply == Py_None) {
        done = PyObject_CallMethodObjArgs(object, read_name, data, NULL);
    } else if (reply != NULL && (since = PyFloat_FromDouble(now)) != NULL) {
        put_in(&line->since, since);
        Py_INCREF(Py_False);
        put_in(&line->fresh, Py_False);
        done = PyObject_CallFunctionObjArgs(write, reply, NULL);
    }
    Py_XDECREF(write);
    Py_XDECREF(ways);
    Py_XDECREF(reply);
    return done;
}

static int line_traverse(PyObject *object, visitproc visit, void *arg)
{
    Line *self = (Line *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->owed);
    Py_VISIT(self->write);
    Py_VISIT(self->ways);
    return 0;
}

static int line_clear(PyObject *object)
{
    Line *self = (Line *)object;
    Py_CLEAR(self->state);
    Py_CLEAR(self->since);
    Py_CLEAR(self->fresh);
    Py_CLEAR(self->owed);
    Py_CLEAR(self->held);
    Py_CLEAR(self->writable);
    Py_CLEAR(self->write);
    Py_CLEAR(self->ways);
    return 0;
}

static void line_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    line_clear(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef QUICK_METHODS[] = {
    {"answer", quick_answer, METH_VARARGS,
     "The reply to `body`, whose header was complete at `started` (monotonic seconds); None: Python answers."},
    {"lease", quick_lease, METH_VARARGS,
     "Answer until the monotonic clock says `until`: with `begun` before the ids, and `tail` in them."},
    {NULL, NULL, 0, NULL}};
static PyMemberDef QUICK_MEMBERS[] = {{"until", T_DOUBLE, offsetof(Quick, until), READONLY, "End of the lease."},
                                      {NULL, 0, 0, 0, NULL}};
static PyType_Slot QUICK_SLOTS[] = {{Py_tp_new, quick_new},
                                    {Py_tp_dealloc, quick_dealloc},
                                    {Py_tp_traverse, quick_traverse},
                                    {Py_tp_methods, QUICK_METHODS},
                                    {Py_tp_members, QUICK_MEMBERS},
                                    {Py_tp_doc, "Answers the requests that a sum of their record decides."},
                                    {0, NULL}};
static PyType_Spec QUICK = {"wherry.server._quick.Quick", sizeof(Quick), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, QUICK_SLOTS};

static PyMethodDef LINE_METHODS[] = {
    {"data_received", line_data_received, METH_O, "Answer what a Quick answers; have `read` see everything else."},
    {NULL, NULL, 0, NULL}};
static PyMemberDef LINE_MEMBERS[] = {{"state", T_OBJECT_EX, offsetof(Line, state), 0, NULL},
                                     {"since", T_OBJECT_EX, offsetof(Line, since), 0, NULL},
                                     {"fresh", T_OBJECT_EX, offsetof(Line, fresh), 0, NULL},
                                     {"owed", T_OBJECT_EX, offsetof(Line, owed), 0, NULL},
                                     {"held", T_OBJECT_EX, offsetof(Line, held), 0, NULL},
                                     {"writable", T_OBJECT_EX, offsetof(Line, writable), 0, NULL},
                                     {"write", T_OBJECT_EX, offsetof(Line, write), 0, NULL},
                                     {"ways", T_OBJECT_EX, offsetof(Line, ways), 0, NULL},
                                     {NULL, 0, 0, 0, NULL}};
static PyType_Slot LINE_SLOTS[] = {{Py_tp_dealloc, line_dealloc}, {Py_tp_traverse, line_traverse},
                                   {Py_tp_clear, line_clear},     {Py_tp_methods, LINE_METHODS},
                                   {Py_tp_members, LINE_MEMBERS}, {Py_tp_doc, "What a connection begins with."},
                                   {0, NULL}};
static PyType_Spec LINE = {"wherry.server._quick.Line", sizeof(Line), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, LINE_SLOTS};

static int filled(PyObject *module)
{
    read_name = PyUnicode_InternFromString("read");
    idle = PyLong_FromLong(0);
    quick_type = (PyTypeObject *)PyType_FromSpec(&QUICK);
    PyObject *line = PyType_FromSpec(&LINE);
    int failed = read_name == NULL || idle == NULL || quick_type == NULL || line == NULL ||
                 PyModule_AddObjectRef(module, "Quick", (PyObject *)quick_type) < 0 ||
                 PyModule_AddObjectRef(module, "Line", line) < 0;
    Py_XDECREF(line);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot PARTS[] = {{Py_mod_exec, filled}, {0, NULL}};
static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_quick", "Requests that a sum answers.", 0, NULL, PARTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__quick(void) { return PyModuleDef_Init(&MODULE); }
