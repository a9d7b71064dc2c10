/* The inner loops of a prediction by trees, of explanations, of chances, of routes, of records and of the log, which Python has no quick words for.

   Everything here is also done without this file: by ONNX Runtime, by numpy, and by Python. `ekiben.loops` chooses. What
   comes in is looked at once, when a forest or a table is taken over; after that every index is known to lie within its array. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOGETHER = 8 };           /* trees that are gone down side by side: none waits for another's memory */
enum { ROWS_AT_ONCE = 64 };      /* rows that meet the same trees while these are near */
enum { ON_STACK = 512 };         /* numbers of one row that need no memory of their own */
static const double LARGEST_32 = 3.4028234663852886e38;

/* ── trees ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

typedef struct {
    double threshold;            /* up to it a number goes to `first`, beyond it to the next one */
    int32_t feature;             /* of a leaf: one beyond the features, whose number is always 0 */
    int32_t first;               /* of a leaf: itself */
} Node;

typedef struct {
    Py_ssize_t n_features, n_targets, n_trees, n_nodes;
    int narrow;                  /* numbers are rounded to 32 bits, and so are sums */
    Node *nodes;
    uint8_t *missing_first;      /* whether a missing number goes to `first` */
    double *weight;              /* of a leaf */
    int32_t *target;             /* of a leaf: which sum it is added to; where leaves are rows, which row it names */
    double *rows;                /* n_targets numbers each, where leaves are rows of numbers */
    int32_t *roots;              /* as many as make whole groups; those too many lead to a leaf that is not added */
    int32_t *depths;             /* of each group of trees */
} Forest;

static const char FOREST[] = "ekiben.forest";

static void forest_free(Forest *forest) {
    if (forest != NULL) {
        free(forest->nodes);
        free(forest->missing_first);
        free(forest->weight);
        free(forest->target);
        free(forest->rows);
        free(forest->roots);
        free(forest->depths);
        free(forest);
    }
}

static void forest_gone(PyObject *capsule) {
    forest_free(PyCapsule_GetPointer(capsule, FOREST));
}

enum {
    FEATURE, THRESHOLD, MISSING_TRUE, TRUE_LEAF, TRUE_ID, FALSE_LEAF, FALSE_ID, ROOT, LEAF_TARGET, LEAF_WEIGHT,
    ROWS, N_ARRAYS
};

typedef struct {
    int32_t *of;                 /* which node of the tables a node here is; a leaf is -1 - its number */
    Py_ssize_t n, most;
} Placed;

static int is_within(const int64_t *values, Py_ssize_t n, int64_t low, int64_t high) {
    for (Py_ssize_t i = 0; i < n; i++) {
        if (values[i] < low || values[i] >= high) {
            return 0;
        }
    }
    return 1;
}

/* Put a tree's nodes in the order in which they are met, both ways of a node side by side; give its depth, or -1. */
static int32_t placed(Placed *all, const int64_t **ids, int64_t root, int32_t *depth_of) {
    Py_ssize_t start = all->n;
    int32_t deepest = 0;
    if (all->n >= all->most) {
        return -1;
    }
    depth_of[all->n] = 0;
    all->of[all->n++] = (int32_t)root;
    for (Py_ssize_t at = start; at < all->n; at++) {
        int32_t node = all->of[at];
        if (node < 0) {
            continue;
        }
        if (all->n + 2 > all->most) {
            return -1;
        }
        for (int side = 0; side < 2; side++) {
            int64_t id = ids[side ? FALSE_ID : TRUE_ID][node];
            int is_leaf = ids[side ? FALSE_LEAF : TRUE_LEAF][node] == 1;
            depth_of[all->n] = depth_of[at] + 1;
            deepest = depth_of[all->n] > deepest ? depth_of[all->n] : deepest;
            all->of[all->n++] = is_leaf ? (int32_t)(-1 - id) : (int32_t)id;
        }
    }
    return deepest;
}

/* Whether each leaf names one of the rows, and those of each tree are that tree's own, so that trees add up in their order. */
static int names_rows(const Forest *forest, const Placed *all, const int64_t *target, const double *weight, double n) {
    Py_ssize_t tree = 0;
    for (Py_ssize_t at = 0; at < all->n; at++) {
        tree += tree < forest->n_trees && at == forest->roots[tree];
        Py_ssize_t leaf = -1 - (Py_ssize_t)all->of[at];
        if (leaf >= 0 && (target[leaf] != tree - 1 || !(weight[leaf] >= 0 && weight[leaf] < n))) {
            return 0;
        }
    }
    return 1;
}

static Forest *grown(const Py_buffer *given, Py_ssize_t n_features, Py_ssize_t n_targets, int narrow) {
    const int64_t *ids[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++) {
        ids[i] = given[i].buf;
    }
    const double *threshold = given[THRESHOLD].buf, *weight = given[LEAF_WEIGHT].buf;
    Py_ssize_t n_splits = given[FEATURE].len / 8, n_leaves = given[LEAF_TARGET].len / 8, n_trees = given[ROOT].len / 8;
    Py_ssize_t most = 2 * (n_splits + n_leaves) + n_trees, padded = (n_trees + TOGETHER - 1) / TOGETHER * TOGETHER;
    Forest *made = calloc(1, sizeof *made);
    Placed all = {malloc((size_t)most * sizeof(int32_t)), 0, most};
    int32_t *depth_of = malloc((size_t)most * sizeof(int32_t));
    int fits = made != NULL && all.of != NULL && depth_of != NULL;
    if (fits) {
        made->n_features = n_features, made->n_targets = n_targets, made->n_trees = n_trees, made->narrow = narrow;
        made->roots = calloc((size_t)padded, sizeof(int32_t));
        made->depths = calloc((size_t)(padded / TOGETHER), sizeof(int32_t));
        fits = made->roots != NULL && made->depths != NULL;
    }
    for (Py_ssize_t i = 0; fits && i < n_trees; i++) {
        made->roots[i] = (int32_t)all.n;
        int32_t depth = placed(&all, ids, ids[ROOT][i], depth_of), *of_group = &made->depths[i / TOGETHER];
        fits = depth >= 0;
        *of_group = depth > *of_group ? depth : *of_group;
    }
    if (fits) {
        made->n_nodes = all.n;
        made->nodes = malloc((size_t)all.n * sizeof(Node));
        made->missing_first = calloc((size_t)all.n, 1);
        made->weight = calloc((size_t)all.n, sizeof(double));
        made->target = calloc((size_t)all.n, sizeof(int32_t));
        fits = made->nodes != NULL && made->missing_first != NULL && made->weight != NULL && made->target != NULL;
    }
    Py_ssize_t n_rows = given[ROWS].len / 8 / n_targets;
    if (fits && n_rows > 0) {
        fits = names_rows(made, &all, ids[LEAF_TARGET], weight, (double)n_rows)
            && (made->rows = malloc((size_t)given[ROWS].len)) != NULL;
        if (fits) {
            memcpy(made->rows, given[ROWS].buf, (size_t)given[ROWS].len);
        }
    }
    /* The ways of the nodes follow each other as the nodes do, tree by tree: the first pair behind a root is its own. */
    Py_ssize_t tree = 0, next = 0;
    for (Py_ssize_t at = 0; fits && at < all.n; at++) {
        if (tree < n_trees && at == made->roots[tree]) {
            tree++;
            next = at + 1;
        }
        int32_t node = all.of[at];
        if (node < 0) {
            made->nodes[at] = (Node){HUGE_VAL, (int32_t)n_features, (int32_t)at};
            made->weight[at] = weight[-1 - node];
            made->target[at] = (int32_t)(n_rows > 0 ? (int64_t)weight[-1 - node] : ids[LEAF_TARGET][-1 - node]);
        } else {
            made->nodes[at] = (Node){threshold[node], (int32_t)ids[FEATURE][node], (int32_t)next};
            made->missing_first[at] = (uint8_t)ids[MISSING_TRUE][node];
            next += 2;
        }
    }
    for (Py_ssize_t i = n_trees; fits && i < padded; i++) {
        made->roots[i] = made->roots[0];
    }
    free(all.of);
    free(depth_of);
    if (!fits) {
        forest_free(made);
        return NULL;
    }
    return made;
}

static const char *const UNFIT = "The trees must lead forward to nodes and leaves that there are.";

PyDoc_STRVAR(forest_doc,
"forest(n_features, n_targets, narrow, arrays)\n--\n\n"
"Take trees over, from the arrays of a `Forest` as 64-bit integers and floats. The last of them is empty, or has rows of\n"
"`n_targets` numbers, which leaves name in place of a number of their own. None where trees share nodes, or rows do not fit.");

static PyObject *loops_forest(PyObject *self, PyObject *args) {
    Py_ssize_t n_features, n_targets;
    int narrow;
    PyObject *arrays;
    (void)self;
    if (!PyArg_ParseTuple(args, "nnpO!", &n_features, &n_targets, &narrow, &PyTuple_Type, &arrays)) {
        return NULL;
    }
    if (PyTuple_Size(arrays) != N_ARRAYS) {
        PyErr_SetString(PyExc_ValueError, UNFIT);
        return NULL;
    }
    Py_buffer given[N_ARRAYS];
    int n_given = 0;
    Forest *made = NULL;
    int fits = 1;
    for (; n_given < N_ARRAYS; n_given++) {
        if (PyObject_GetBuffer(PyTuple_GetItem(arrays, n_given), &given[n_given], PyBUF_SIMPLE) < 0) {
            fits = 0;
            break;
        }
    }
    if (fits) {
        const int64_t *ids[N_ARRAYS];
        for (int i = 0; i < N_ARRAYS; i++) {
            ids[i] = given[i].buf;
        }
        Py_ssize_t n = given[FEATURE].len / 8, n_leaves = given[LEAF_TARGET].len / 8, n_trees = given[ROOT].len / 8;
        fits = n > 0 && n_leaves > 0 && n_trees > 0 && n_features > 0 && n_targets > 0
            && n + n_leaves + n_trees < INT32_MAX / 4 && n_features < INT32_MAX && n_targets < INT32_MAX
            && given[LEAF_WEIGHT].len / 8 == n_leaves && given[ROWS].len % (8 * n_targets) == 0
            && is_within(ids[LEAF_TARGET], n_leaves, 0, given[ROWS].len > 0 ? n_trees : n_targets)
            && is_within(ids[ROOT], n_trees, 0, n);
        for (int i = FEATURE; fits && i < ROOT; i++) {
            fits = given[i].len / 8 == n;
        }
        fits = fits && is_within(ids[FEATURE], n, 0, n_features) && is_within(ids[MISSING_TRUE], n, 0, 2)
            && is_within(ids[TRUE_LEAF], n, 0, 2) && is_within(ids[FALSE_LEAF], n, 0, 2);
        for (Py_ssize_t i = 0; fits && i < n; i++) {
            int64_t yes = ids[TRUE_ID][i], no = ids[FALSE_ID][i];
            fits = (ids[TRUE_LEAF][i] ? yes >= 0 && yes < n_leaves : yes > i && yes < n)
                && (ids[FALSE_LEAF][i] ? no >= 0 && no < n_leaves : no > i && no < n);
        }
        if (!fits) {
            PyErr_SetString(PyExc_ValueError, UNFIT);
        } else {
            made = grown(given, n_features, n_targets, narrow);
        }
    }
    while (n_given > 0) {
        PyBuffer_Release(&given[--n_given]);
    }
    if (!fits) {
        return NULL;
    }
    if (made == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *capsule = PyCapsule_New(made, FOREST, forest_gone);
    if (capsule == NULL) {
        forest_free(made);
    }
    return capsule;
}

/* Go down a group of trees; `at` gets their leaves. `x` has one number more than there are features, which is 0. */
static inline void down(const Forest *forest, Py_ssize_t group, const double *x, int gaps, int32_t *at) {
    const Node *nodes = forest->nodes;
    memcpy(at, forest->roots + group * TOGETHER, TOGETHER * sizeof *at);
    int32_t depth = forest->depths[group];
    if (gaps) {
        for (int32_t step = 0; step < depth; step++) {
            for (int k = 0; k < TOGETHER; k++) {
                const Node *node = &nodes[at[k]];
                double number = x[node->feature];
                int first = number <= node->threshold || (number != number && forest->missing_first[at[k]]);
                at[k] = node->first + !first;
            }
        }
    } else {
        for (int32_t step = 0; step < depth; step++) {
            for (int k = 0; k < TOGETHER; k++) {
                const Node *node = &nodes[at[k]];
                at[k] = node->first + !(x[node->feature] <= node->threshold);
            }
        }
    }
}

/* Add the leaves of a group up, tree by tree, as the library adds them. */
static inline void add(const Forest *forest, Py_ssize_t group, const int32_t *at, double *sums) {
    Py_ssize_t left = forest->n_trees - group * TOGETHER;
    int n = left < TOGETHER ? (int)left : TOGETHER;
    if (forest->rows != NULL) {
        for (int k = 0; k < n; k++) {
            const double *row = forest->rows + forest->target[at[k]] * forest->n_targets;
            for (Py_ssize_t j = 0; j < forest->n_targets; j++) {
                sums[j] += row[j];
            }
        }
        return;
    }
    for (int k = 0; k < n; k++) {
        double *sum = &sums[forest->target[at[k]]];
        double added = *sum + forest->weight[at[k]];
        *sum = forest->narrow ? (double)(float)added : added; /* two numbers of 32 bits: rounded once, as they would be */
    }
}

/* Round one row's numbers as the trees see them. Give 1 where one is missing, 0 where none is, -1 where one is too large. */
static int seen(const Forest *forest, double *x) {
    int gaps = 0;
    for (Py_ssize_t i = 0; i < forest->n_features; i++) {
        if (fabs(x[i]) > LARGEST_32) {
            return -1;
        }
        gaps |= x[i] != x[i];
        x[i] = forest->narrow ? (double)(float)x[i] : x[i];
    }
    x[forest->n_features] = 0.0;
    return gaps;
}

PyDoc_STRVAR(row_doc,
"row(forest, numbers)\n--\n\n"
"Add up the leaves for the numbers of one row, NaN for a missing one; None where one is beyond 32 bits.");

static PyObject *loops_row(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
    (void)self;
    Forest *forest = n_args == 2 ? PyCapsule_GetPointer(args[0], FOREST) : NULL;
    if (forest == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "row(forest, numbers)");
        }
        return NULL;
    }
    PyObject *numbers = PySequence_Fast(args[1], "numbers must be a sequence");
    if (numbers == NULL) {
        return NULL;
    }
    Py_ssize_t n = forest->n_features, n_targets = forest->n_targets;
    double near[ON_STACK], *x = near;
    PyObject *result = NULL;
    if (n + 1 + n_targets > ON_STACK && (x = malloc((size_t)(n + 1 + n_targets) * sizeof *x)) == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    double *sums = x + n + 1;
    int is_list = PyList_Check(numbers);
    if ((is_list ? PyList_Size(numbers) : PyTuple_Size(numbers)) != n) {
        PyErr_SetString(PyExc_ValueError, "A row must have one number for each feature.");
        goto done;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        x[i] = PyFloat_AsDouble(is_list ? PyList_GetItem(numbers, i) : PyTuple_GetItem(numbers, i));
        if (x[i] == -1.0 && PyErr_Occurred()) {
            goto done;
        }
    }
    int gaps = seen(forest, x);
    if (gaps < 0) {
        Py_INCREF(Py_None);
        result = Py_None;
        goto done;
    }
    memset(sums, 0, (size_t)n_targets * sizeof *sums);
    for (Py_ssize_t group = 0; group * TOGETHER < forest->n_trees; group++) {
        int32_t at[TOGETHER];
        down(forest, group, x, gaps, at);
        add(forest, group, at, sums);
    }
    result = PyList_New(n_targets);
    for (Py_ssize_t i = 0; result != NULL && i < n_targets; i++) {
        PyObject *sum = PyFloat_FromDouble(sums[i]);
        if (sum == NULL || PyList_SetItem(result, i, sum) < 0) {
            Py_CLEAR(result);
        }
    }
done:
    if (x != near) {
        free(x);
    }
    Py_DECREF(numbers);
    return result;
}

PyDoc_STRVAR(rows_doc,
"rows(forest, matrix, sums)\n--\n\n"
"Add up the leaves for many rows: from float64 of shape (n_rows, n_features) into float64 of shape (n_rows, n_targets);\n"
"False, with nothing said of the sums, where a number is beyond 32 bits.");

static PyObject *loops_rows(PyObject *self, PyObject *args) {
    PyObject *capsule;
    Py_buffer given, made;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*w*", &capsule, &given, &made)) {
        return NULL;
    }
    Forest *forest = PyCapsule_GetPointer(capsule, FOREST);
    Py_ssize_t n = forest == NULL ? 1 : forest->n_features, n_targets = forest == NULL ? 1 : forest->n_targets;
    Py_ssize_t n_rows = given.len / 8 / n, width = n + 1;
    double *x = malloc((size_t)(ROWS_AT_ONCE * width) * sizeof *x);
    int fits = forest != NULL;
    if (fits && (given.len != n_rows * n * 8 || made.len != n_rows * n_targets * 8)) {
        PyErr_SetString(PyExc_ValueError, "The arrays must fit the trees.");
        fits = 0;
    } else if (fits && x == NULL) {
        PyErr_NoMemory();
        fits = 0;
    }
    int held = 1;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        const double *in = given.buf;
        double *out = made.buf;
        memset(out, 0, (size_t)made.len);
        for (Py_ssize_t start = 0; held && start < n_rows; start += ROWS_AT_ONCE) {
            Py_ssize_t stop = start + ROWS_AT_ONCE < n_rows ? start + ROWS_AT_ONCE : n_rows;
            int gaps = 0;
            for (Py_ssize_t i = start; held && i < stop; i++) {
                double *row = x + (i - start) * width;
                memcpy(row, in + i * n, (size_t)n * sizeof *row);
                int found = seen(forest, row);
                held = found >= 0;
                gaps |= found;
            }
            for (Py_ssize_t group = 0; held && group * TOGETHER < forest->n_trees; group++) {
                for (Py_ssize_t i = start; i < stop; i++) {
                    int32_t at[TOGETHER];
                    down(forest, group, x + (i - start) * width, gaps, at);
                    add(forest, group, at, out + i * n_targets);
                }
            }
        }
        Py_END_ALLOW_THREADS
    }
    free(x);
    PyBuffer_Release(&given);
    PyBuffer_Release(&made);
    return fits ? PyBool_FromLong(held) : NULL;
}

/* ── powers of e ──────────────────────────────────────────────────────────────────────────────────────────────────── */

PyDoc_STRVAR(powers_doc,
"powers(numbers)\n--\n\n"
"Put into each place of a float64 array e to the power of what stands there, to the bits of `math.exp`; numpy has others.");

static PyObject *loops_powers(PyObject *self, PyObject *args) {
    Py_buffer made;
    (void)self;
    if (!PyArg_ParseTuple(args, "w*", &made)) {
        return NULL;
    }
    double *numbers = made.buf;
    Py_ssize_t n = made.len / 8;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n; i++) {
        numbers[i] = exp(numbers[i]);
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&made);
    Py_RETURN_NONE;
}

/* ── tables of Shapley values ──────────────────────────────────────────────────────────────────────────────────── */

enum { QUESTIONS = 8 };          /* of a branch: the bits of a byte */
enum { BRANCHES_AT_ONCE = 32 };  /* whose rows are on their way from memory together */
enum { LANES = 2 };              /* sums that branches are added to in turn: none waits for the one before it */
#if defined(__GNUC__)
#define NEAR(place) __builtin_prefetch(place)
#else
#define NEAR(place) ((void)(place))
#endif

typedef struct {
    Py_ssize_t n_features, n_bits, n_branches, n_slots, n_players;
    int strict, narrow, single;  /* single: the table has numbers of 32 bits */
    int few;                     /* whether 16 bits hold the place of every bit, and 8 every player */
    double *edges;               /* the thresholds of all features, one after the other */
    int64_t *edge;               /* where those of each feature begin; one more is the end */
    uint8_t *answers;            /* for each feature a row of bytes for each bin, and one for a missing number */
    int64_t *answer;             /* where those of each feature begin; one more is the end */
    int64_t *width;              /* bytes of a row */
    void *slots;                 /* where the bit of each question is; the last eight bits are always 0 */
    int32_t *begins;             /* where the rows of each branch begin */
    void *owners;                /* of each slot; one beyond the players for none */
    int32_t *widest;             /* of the branches that are looked up together: up to which slot one has an owner */
    Py_buffer table;
} Tables;

static const char TABLES[] = "ekiben.tables";
static uint8_t spread[256][8];   /* the bits of a byte, each in a byte of its own */

static void tables_free(Tables *tables) {
    if (tables != NULL) {
        free(tables->edges);
        free(tables->edge);
        free(tables->answers);
        free(tables->answer);
        free(tables->width);
        free(tables->slots);
        free(tables->begins);
        free(tables->owners);
        free(tables->widest);
        if (tables->table.obj != NULL) {
            PyBuffer_Release(&tables->table);
        }
        free(tables);
    }
}

static void tables_gone(PyObject *capsule) {
    tables_free(PyCapsule_GetPointer(capsule, TABLES));
}

enum { EDGES, N_EDGES, ANSWERS, WIDTHS, SLOTS, BEGINS, OWNERS, N_PARTS };

static void *copied(const Py_buffer *given) {
    void *made = malloc((size_t)given->len + 1);
    return made == NULL ? NULL : memcpy(made, given->buf, (size_t)given->len);
}

/* Give 64-bit integers in so many bytes each: 1, 2 or 4. */
static void *narrowed(const Py_buffer *given, size_t size) {
    Py_ssize_t n = given->len / 8;
    const int64_t *values = given->buf;
    void *made = malloc((size_t)n * size + 1);
    uint8_t *bytes = made;
    uint16_t *small = made;
    int32_t *large = made;
    for (Py_ssize_t i = 0; made != NULL && i < n; i++) {
        if (size == 1) {
            bytes[i] = (uint8_t)values[i];
        } else if (size == 2) {
            small[i] = (uint16_t)values[i];
        } else {
            large[i] = (int32_t)values[i];
        }
    }
    return made;
}

/* Take over what says by which bin a feature answers which questions; 0 where the parts do not fit. */
static int took_answers(Tables *made, const Py_buffer *given) {
    Py_ssize_t n = made->n_features = given[WIDTHS].len / 8;
    const int64_t *counts = given[N_EDGES].buf, *widths = given[WIDTHS].buf;
    int64_t n_edges = given[EDGES].len / 8, n_answers = given[ANSWERS].len;
    if (given[N_EDGES].len != given[WIDTHS].len || !is_within(counts, n, 0, n_edges + 1)
        || !is_within(widths, n, 0, n_answers + 1)) {
        return 0;
    }
    made->edge = calloc((size_t)n + 1, sizeof *made->edge);
    made->answer = calloc((size_t)n + 1, sizeof *made->answer);
    if (made->edge == NULL || made->answer == NULL) {
        return 0;
    }
    int64_t n_bytes = 1;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (widths[i] > 0 && counts[i] + 2 > (n_answers - made->answer[i]) / widths[i]) {
            return 0;
        }
        made->edge[i + 1] = made->edge[i] + counts[i];
        made->answer[i + 1] = made->answer[i] + (counts[i] + 2) * widths[i];
        n_bytes += widths[i];
    }
    made->n_bits = 8 * n_bytes;
    made->edges = copied(&given[EDGES]), made->answers = copied(&given[ANSWERS]), made->width = copied(&given[WIDTHS]);
    return made->edge[n] == n_edges && made->answer[n] == n_answers && made->edges != NULL && made->answers != NULL
        && made->width != NULL;
}

/* Take over which answers ask which row of the table; 0 where one could ask for a row that there is not. */
static int took_branches(Tables *made, const Py_buffer *given) {
    Py_ssize_t n = made->n_branches = given[BEGINS].len / 8, size = made->single ? 4 : 8;
    made->n_slots = n > 0 ? given[OWNERS].len / 8 / n : 0;
    if (made->n_slots < 1 || given[OWNERS].len != given[BEGINS].len * made->n_slots || made->n_bits >= INT32_MAX
        || given[SLOTS].len != given[BEGINS].len * QUESTIONS || made->n_players >= INT32_MAX
        || !is_within(given[SLOTS].buf, n * QUESTIONS, 0, made->n_bits)
        || !is_within(given[OWNERS].buf, n * made->n_slots, 0, made->n_players + 1)) {
        return 0;
    }
    int64_t n_rows = made->table.len / size / made->n_slots;
    const int64_t *slots = given[SLOTS].buf, *begins = given[BEGINS].buf, *owners = given[OWNERS].buf;
    int fits = made->table.len == n_rows * made->n_slots * size && n_rows < INT32_MAX;
    for (Py_ssize_t i = 0; fits && i < n; i++) {
        int64_t most = 0;        /* the largest byte that this branch can get */
        for (int k = 0; k < QUESTIONS; k++) {
            most |= (int64_t)(slots[i * QUESTIONS + k] < made->n_bits - 8) << k;
        }
        fits = begins[i] >= 0 && begins[i] < n_rows - most;
    }
    if (!fits) {
        return 0;
    }
    made->few = made->n_bits <= UINT16_MAX && made->n_players <= UINT8_MAX;
    made->slots = narrowed(&given[SLOTS], made->few ? 2 : 4), made->owners = narrowed(&given[OWNERS], made->few ? 1 : 4);
    made->begins = narrowed(&given[BEGINS], 4);
    made->widest = calloc((size_t)(n / BRANCHES_AT_ONCE + 1), sizeof *made->widest);
    for (Py_ssize_t i = 0; made->widest != NULL && i < n; i++) {
        int32_t *widest = &made->widest[i / BRANCHES_AT_ONCE], wide = (int32_t)made->n_slots;
        while (wide > *widest && owners[i * made->n_slots + wide - 1] == made->n_players) {
            wide--;
        }
        *widest = wide > *widest ? wide : *widest;
    }
    return made->slots != NULL && made->begins != NULL && made->owners != NULL && made->widest != NULL;
}

PyDoc_STRVAR(tables_doc,
"tables(n_players, strict, narrow, single, table, arrays)\n--\n\n"
"Take the tables of an explainer over: `table` of float64, or of float32 where `single`; 64-bit integers, but for the\n"
"thresholds and the answers' bytes.");

static PyObject *loops_tables(PyObject *self, PyObject *args) {
    PyObject *table, *arrays;
    Tables *made = calloc(1, sizeof *made);
    (void)self;
    if (made == NULL) {
        return PyErr_NoMemory();
    }
    if (!PyArg_ParseTuple(args, "npppOO!", &made->n_players, &made->strict, &made->narrow, &made->single, &table,
                          &PyTuple_Type, &arrays)) {
        free(made);
        return NULL;
    }
    Py_buffer given[N_PARTS];
    int n_given = 0, fits = PyTuple_Size(arrays) == N_PARTS;
    while (fits && n_given < N_PARTS) {
        fits = PyObject_GetBuffer(PyTuple_GetItem(arrays, n_given), &given[n_given], PyBUF_SIMPLE) == 0;
        n_given += fits;
    }
    fits = fits && PyObject_GetBuffer(table, &made->table, PyBUF_SIMPLE) == 0 && took_answers(made, given)
        && took_branches(made, given);
    while (n_given > 0) {
        PyBuffer_Release(&given[--n_given]);
    }
    PyObject *capsule = fits ? PyCapsule_New(made, TABLES, tables_gone) : NULL;
    if (capsule == NULL) {
        tables_free(made);
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "The tables of an explainer must fit each other.");
        }
    }
    return capsule;
}

/* Give how many thresholds of a feature a number has passed. */
static int64_t bin_of(const Tables *tables, Py_ssize_t feature, double number) {
    const double *edges = tables->edges + tables->edge[feature];
    int64_t low = 0, n = tables->edge[feature + 1] - tables->edge[feature];
    while (n > 0) {
        int64_t half = n / 2;
        int passed = tables->strict ? edges[low + half] <= number : edges[low + half] < number;
        low = passed ? low + half + 1 : low;
        n = passed ? n - half - 1 : half;
    }
    return low;
}

/* Add the rows of some branches, of which `wide` numbers have owners, to the sums of the lanes in turn. */
static inline void added(const Tables *tables, Py_ssize_t start, Py_ssize_t n, const int32_t *at, int few, int single, Py_ssize_t wide,
                         double *sums) {
    Py_ssize_t n_slots = tables->n_slots, n_sums = tables->n_players + 1;
    const float *low = tables->table.buf;
    const double *high = tables->table.buf;
    const uint8_t *small = (const uint8_t *)tables->owners + (few ? start * n_slots : 0);
    const int32_t *large = (const int32_t *)tables->owners + (few ? 0 : start * n_slots);
    for (Py_ssize_t i = 0; i < n; i++) {
        double *lane = sums + i % LANES * n_sums;
        for (Py_ssize_t j = 0; j < wide; j++) {
            Py_ssize_t from = at[i] * n_slots + j;
            lane[few ? small[i * n_slots + j] : large[i * n_slots + j]] += single ? (double)low[from] : high[from];
        }
    }
}

/* Add up what the branches say for the answers of one row: a few rows of the table are asked for before the first is read. */
static inline void gathered(const Tables *tables, const uint8_t *bits, int few, int single, double *sums) {
    const char *bytes = tables->table.buf;
    Py_ssize_t row = tables->n_slots * (single ? 4 : 8);
    const uint16_t *small = tables->slots;
    const int32_t *large = tables->slots;
    for (Py_ssize_t start = 0; start < tables->n_branches; start += BRANCHES_AT_ONCE) {
        Py_ssize_t left = tables->n_branches - start, n = left < BRANCHES_AT_ONCE ? left : BRANCHES_AT_ONCE;
        int32_t at[BRANCHES_AT_ONCE];
        for (Py_ssize_t i = 0; i < n; i++) {
            Py_ssize_t slot = (start + i) * QUESTIONS;
            int asked = 0;
            for (int k = 0; k < QUESTIONS; k++) {
                asked |= bits[few ? small[slot + k] : large[slot + k]] << k;
            }
            at[i] = tables->begins[start + i] + asked;
            NEAR(bytes + at[i] * row);
            NEAR(bytes + at[i] * row + row - 1);
        }
        switch (tables->widest[start / BRANCHES_AT_ONCE]) { /* so that the usual widths are known when this is compiled */
            case 4: added(tables, start, n, at, few, single, 4, sums); break;
            case 5: added(tables, start, n, at, few, single, 5, sums); break;
            case 6: added(tables, start, n, at, few, single, 6, sums); break;
            case 7: added(tables, start, n, at, few, single, 7, sums); break;
            case 8: added(tables, start, n, at, few, single, 8, sums); break;
            default: added(tables, start, n, at, few, single, tables->widest[start / BRANCHES_AT_ONCE], sums);
        }
    }
}

static void looked_up(const Tables *tables, const uint8_t *bits, double *sums) {
    if (tables->few && tables->single) {
        gathered(tables, bits, 1, 1, sums);
    } else if (tables->few) {
        gathered(tables, bits, 1, 0, sums);
    } else if (tables->single) {
        gathered(tables, bits, 0, 1, sums);
    } else {
        gathered(tables, bits, 0, 0, sums);
    }
}

PyDoc_STRVAR(parts_doc,
"parts(tables, numbers)\n--\n\n"
"Break the sum for one row down: what each feature adds to it, as a list.");

static PyObject *loops_parts(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
    (void)self;
    Tables *tables = n_args == 2 ? PyCapsule_GetPointer(args[0], TABLES) : NULL;
    if (tables == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "parts(tables, numbers)");
        }
        return NULL;
    }
    PyObject *numbers = PySequence_Fast(args[1], "numbers must be a sequence");
    if (numbers == NULL) {
        return NULL;
    }
    Py_ssize_t n_sums = tables->n_players + 1;
    double *sums = malloc((size_t)(LANES * n_sums) * sizeof *sums + (size_t)tables->n_bits);
    uint8_t *bits = (uint8_t *)(sums + LANES * n_sums), *bit = bits;
    PyObject *found = NULL;
    int is_list = PyList_Check(numbers);
    if (sums == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if ((is_list ? PyList_Size(numbers) : PyTuple_Size(numbers)) != tables->n_features) {
        PyErr_SetString(PyExc_ValueError, "A row must have one number for each feature.");
        goto done;
    }
    for (Py_ssize_t i = 0; i < tables->n_features; i++) {
        double number = PyFloat_AsDouble(is_list ? PyList_GetItem(numbers, i) : PyTuple_GetItem(numbers, i));
        if (number == -1.0 && PyErr_Occurred()) {
            goto done;
        }
        number = tables->narrow ? (double)(float)number : number;
        int64_t n_edges = tables->edge[i + 1] - tables->edge[i];
        int64_t bin = number == number ? bin_of(tables, i, number) : n_edges + 1, width = tables->width[i];
        const uint8_t *told = tables->answers + tables->answer[i] + bin * width;
        for (int64_t j = 0; j < width; j++, bit += 8) {
            memcpy(bit, spread[told[j]], 8);
        }
    }
    memset(bit, 0, 8);
    memset(sums, 0, (size_t)(LANES * n_sums) * sizeof *sums);
    looked_up(tables, bits, sums);
    found = PyList_New(tables->n_players);
    for (Py_ssize_t i = 0; found != NULL && i < tables->n_players; i++) {
        PyObject *part = PyFloat_FromDouble(sums[i] + sums[i + n_sums]);
        if (part == NULL || PyList_SetItem(found, i, part) < 0) {
            Py_CLEAR(found);
        }
    }
done:
    free(sums);
    Py_DECREF(numbers);
    return found;
}

/* ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Give how many bytes of some lines make the next piece: as many whole ones as fit, or one that is longer. */
static Py_ssize_t piece_of(const char *lines, Py_ssize_t n, Py_ssize_t most) {
    Py_ssize_t end = n < most ? n : most;
    while (end > 0 && lines[end - 1] != '\n') {
        end--;
    }
    if (end == 0) {
        const char *last = memchr(lines, '\n', (size_t)n);
        end = last == NULL ? n : last - lines + 1;
    }
    return end;
}

static const char written_doc[] =
    "written(file, lines, most)\n\nWrite bytes to an open file in pieces of whole lines, each of at most so many bytes. The\n"
    "interpreter is others' meanwhile, and is asked for once: who takes and gives it for each piece keeps them waiting.\n"
    "Raises OSError when a piece cannot be written; those before it are.";

static PyObject *loops_written(PyObject *self, PyObject *args) {
    Py_buffer lines;
    Py_ssize_t most;
    int file, failed = 0, ended = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "iy*n", &file, &lines, &most)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    const char *next = lines.buf, *end = next + lines.len;
    while (next < end && !failed && !ended) {
        Py_ssize_t n = piece_of(next, end - next, most);
        while (n > 0 && !failed && !ended) {
            ssize_t done = write(file, next, (size_t)n);
            if (done > 0) {
                next += done;
                n -= done;
            } else if (done < 0 && errno == EAGAIN) { /* somebody made it one that does not wait */
                struct pollfd one = {file, POLLOUT, 0};
                poll(&one, 1, -1);
            } else if (done < 0 && errno == EINTR) {
                Py_BLOCK_THREADS
                ended = PyErr_CheckSignals();
                Py_UNBLOCK_THREADS
            } else {
                failed = done < 0 ? errno : EIO;
            }
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&lines);
    if (ended) {
        return NULL;
    }
    if (failed) {
        errno = failed;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

/* ── sums of weighed features ───────────────────────────────────────────────────────────────────────────────────── */

PyDoc_STRVAR(folded_doc,
"folded(row, weights, places, totals, base)\n--\n\n"
"Weigh the numbers of a row, and add each that is not 0 to the total at its place, and to the base: (base, totals).\n"
"`weights` and `totals` are float64, `places` 64-bit integers.");

static PyObject *loops_folded(PyObject *self, PyObject *args) {
    PyObject *given, *found = NULL, *listed = NULL;
    Py_buffer weights, places, totals;
    double base, on_stack[ON_STACK], *sums = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*y*y*d", &given, &weights, &places, &totals, &base)) {
        return NULL;
    }
    PyObject *row = PySequence_Fast(given, "a row must be a sequence");
    int is_list = row != NULL && PyList_Check(row), fits = row != NULL;
    Py_ssize_t n = !fits ? 0 : is_list ? PyList_Size(row) : PyTuple_Size(row), n_totals = totals.len / 8;
    if (fits && (weights.len != 8 * n || places.len != 8 * n || totals.len != 8 * n_totals)) {
        PyErr_SetString(PyExc_ValueError, "A row must have one number for each weight and place.");
        fits = 0;
    }
    if (fits) {
        sums = n_totals <= ON_STACK ? on_stack : malloc((size_t)totals.len);
        fits = sums != NULL;
        if (fits) {
            memcpy(sums, totals.buf, (size_t)totals.len);
        } else {
            PyErr_NoMemory();
        }
    }
    const char *weight = weights.buf, *place = places.buf;
    for (Py_ssize_t i = 0; fits && i < n; i++, weight += 8, place += 8) {
        double number = PyFloat_AsDouble(is_list ? PyList_GetItem(row, i) : PyTuple_GetItem(row, i)), by;
        int64_t to;
        if (number == 0.0) {
            continue;
        }
        memcpy(&by, weight, 8);
        memcpy(&to, place, 8);
        if (to < 0 || to >= n_totals) {
            PyErr_SetString(PyExc_ValueError, "A place must be that of a total.");
            fits = 0;
        } else if (number == -1.0 && PyErr_Occurred()) {
            fits = 0;
        } else {
            sums[to] += by * number;
            base += by * number;
        }
    }
    listed = fits ? PyList_New(n_totals) : NULL;
    for (Py_ssize_t i = 0; listed != NULL && i < n_totals; i++) {
        PyObject *total = PyFloat_FromDouble(sums[i]);
        if (total == NULL || PyList_SetItem(listed, i, total) < 0) {
            Py_CLEAR(listed);
        }
    }
    if (listed != NULL) {
        found = Py_BuildValue("dN", base, listed);
    }
    if (sums != on_stack) {
        free(sums);
    }
    Py_XDECREF(row);
    PyBuffer_Release(&weights);
    PyBuffer_Release(&places);
    PyBuffer_Release(&totals);
    return found;
}

/* ── the arm of a unit ─────────────────────────────────────────────────────────────────────────────────────────── */

enum { BLOCK = 128 };            /* bytes that BLAKE2b takes in at once */
static const char PULLS[] = "ekiben.pulls";
static const uint64_t IV[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};
static const uint8_t SIGMA[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

typedef struct {
    uint64_t begun[8];           /* the state of the hash once it has its key */
    uint8_t name[BLOCK];         /* what is hashed before the unit */
    Py_ssize_t n_name;
    double log_weight;
    PyObject *given;             /* what is chosen */
} Pull;

typedef struct {
    Py_ssize_t n;
    Pull pulls[];
} Pulls;

static uint64_t turned(uint64_t word, int by) {
    return word >> by | word << (64 - by);
}

static inline void mixed(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

/* Take one block in, as RFC 7693 has it; `n_seen` bytes have been taken in with it. */
static void compressed(uint64_t *h, const uint8_t *block, uint64_t n_seen, int is_last) {
    uint64_t m[16], v[16];
    for (int i = 0; i < 16; i++) {
        m[i] = 0;
        for (int k = 7; k >= 0; k--) {
            m[i] = m[i] << 8 | block[8 * i + k];
        }
    }
    for (int i = 0; i < 8; i++) {
        v[i] = h[i];
        v[i + 8] = IV[i];
    }
    v[12] ^= n_seen;
    v[14] = is_last ? ~v[14] : v[14];
#pragma GCC unroll 12 /* so that every index is known when this is compiled */
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = SIGMA[round];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            int turn = i / 4; /* columns, then diagonals */
            mixed(v, i % 4, (i + turn) % 4 + 4, (i + 2 * turn) % 4 + 8, (i + 3 * turn) % 4 + 12, m[s[2 * i]], m[s[2 * i + 1]]);
        }
    }
    for (int i = 0; i < 8; i++) {
        h[i] ^= v[i] ^ v[i + 8];
    }
}

/* Hash a name and a unit to 8 bytes; give them as a number, the first byte the highest. */
static uint64_t hashed(const Pull *pull, const char *unit, Py_ssize_t n) {
    uint64_t h[8], n_seen = BLOCK, number = 0;
    uint8_t block[BLOCK];
    Py_ssize_t n_held = pull->n_name;
    memcpy(h, pull->begun, sizeof h);
    memcpy(block, pull->name, (size_t)n_held);
    while (n_held + n > BLOCK) {
        Py_ssize_t taken = BLOCK - n_held;
        memcpy(block + n_held, unit, (size_t)taken);
        compressed(h, block, n_seen += BLOCK, 0);
        unit += taken;
        n -= taken;
        n_held = 0;
    }
    memcpy(block + n_held, unit, (size_t)n);
    memset(block + n_held + n, 0, (size_t)(BLOCK - n_held - n));
    compressed(h, block, n_seen + (uint64_t)(n_held + n), 1);
    for (int k = 0; k < 8; k++) {
        number = number << 8 | (h[0] >> (8 * k) & 0xff);
    }
    return number;
}

static void pulls_free(Pulls *taken) {
    for (Py_ssize_t i = 0; i < taken->n; i++) {
        Py_XDECREF(taken->pulls[i].given);
    }
    free(taken);
}

static void pulls_gone(PyObject *capsule) {
    pulls_free(PyCapsule_GetPointer(capsule, PULLS));
}

/* Take one pull over: its name, its key, the logarithm of its weight, and what is given for it. */
static int took_pull(Pull *pull, PyObject *told) {
    const char *name, *key;
    Py_ssize_t n_key;
    uint8_t block[BLOCK] = {0};
    PyObject *given;
    if (!PyTuple_Check(told) || !PyArg_ParseTuple(told, "y#y#dO", &name, &pull->n_name, &key, &n_key, &pull->log_weight, &given)) {
        return 0;
    }
    if (pull->n_name < 1 || pull->n_name > BLOCK || n_key != BLOCK / 2) {
        return 0;
    }
    memcpy(pull->name, name, (size_t)pull->n_name);
    memcpy(block, key, (size_t)n_key);
    memcpy(pull->begun, IV, sizeof IV);
    pull->begun[0] ^= 0x01010000 ^ (uint64_t)n_key << 8 ^ 8; /* one leaf, its key, and 8 bytes that are given */
    compressed(pull->begun, block, BLOCK, 0);
    pull->given = Py_NewRef(given);
    return 1;
}

PyDoc_STRVAR(pulls_doc,
"pulls(told)\n--\n\n"
"Take arms over that pull at units: a tuple of (name, key, log_weight, given) for each, a name of 1 to 128 bytes and a key of\n"
"64. Raises ValueError where they are none.");

static PyObject *loops_pulls(PyObject *self, PyObject *told) {
    (void)self;
    Py_ssize_t n = PyTuple_Check(told) ? PyTuple_Size(told) : 0;
    Pulls *taken = calloc(1, sizeof *taken + (size_t)n * sizeof(Pull));
    if (taken == NULL) {
        return PyErr_NoMemory();
    }
    taken->n = n;
    int fits = n > 0;
    for (Py_ssize_t i = 0; fits && i < n; i++) {
        fits = took_pull(&taken->pulls[i], PyTuple_GetItem(told, i));
    }
    PyObject *capsule = fits ? PyCapsule_New(taken, PULLS, pulls_gone) : NULL;
    if (capsule == NULL) {
        pulls_free(taken);
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "Arms must have a name of up to 128 bytes and a key of 64.");
        }
    }
    return capsule;
}

PyDoc_STRVAR(strongest_doc,
"strongest(pulls, unit)\n--\n\n"
"Give what was told for the arm that pulls a unit, which is text, the strongest.");

static PyObject *loops_strongest(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
    (void)self;
    const Pulls *taken = n_args == 2 ? PyCapsule_GetPointer(args[0], PULLS) : NULL;
    if (taken == NULL || !PyUnicode_Check(args[1])) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "strongest(pulls, unit)");
        }
        return NULL;
    }
    Py_ssize_t n;
    PyObject *encoded = NULL;
    const char *unit = PyUnicode_AsUTF8AndSize(args[1], &n);
    if (unit == NULL) { /* half of a pair: bytes that no text has stand for it */
        char *bytes;
        PyErr_Clear();
        encoded = PyUnicode_AsEncodedString(args[1], "utf-8", "surrogatepass");
        if (encoded == NULL || PyBytes_AsStringAndSize(encoded, &bytes, &n) < 0) {
            Py_XDECREF(encoded);
            return NULL;
        }
        unit = bytes;
    }
    const Pull *best = taken->pulls;
    double strongest = -INFINITY;
    for (const Pull *pull = taken->pulls; pull < taken->pulls + taken->n; pull++) {
        double fraction = ((double)(hashed(pull, unit, n) >> 12) + 0.5) * 0x1p-52;
        double strength = pull->log_weight - log(-log(fraction));
        if (strength > strongest) {
            best = pull;
            strongest = strength;
        }
    }
    Py_XDECREF(encoded);
    return Py_NewRef(best->given);
}

/* ── records of decisions ──────────────────────────────────────────────────────────────────────────────────────── */

enum { AT_FILE, AT_SIZE, AT_MOST, AT_LOOK, N_SEGMENT }; /* places in what is known of a segment */
enum { TORN = -2 };                                     /* in place of an open file */
enum { SMALL = 16384 };                                 /* bytes of records that need no memory of their own */
static uint32_t crcs[8][256];    /* of a byte, and of a byte that up to seven others follow */

static void crcs_made(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        crcs[0][byte] = crc;
    }
    for (int after = 1; after < 8; after++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = crcs[after - 1][byte];
            crcs[after][byte] = crc >> 8 ^ crcs[0][crc & 0xff];
        }
    }
}

#if defined(__x86_64__)
/* Products without carries, as "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Gopal et al., Intel, 2009)
   has them: sixteen bytes at a time, and no table that other work has pushed out of the caches. */
__attribute__((target("pclmul,sse4.1")))
static uint32_t crc_by_products(const uint8_t *bytes, Py_ssize_t n) {
    const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0), by_4 = _mm_set_epi64x(0, 0x163cd6124);
    const __m128i divisor = _mm_set_epi64x(0x1f7011641, 0x1db710641), low = _mm_set_epi32(0, 0, 0, -1);
    uint8_t first[32] = {0};                /* zeros in front change nothing: so no byte is left over at the end */
    Py_ssize_t odd = (n - 1) % 16 + 1;
    memcpy(first + 16 - odd, bytes, (size_t)odd + 16);
    for (int k = 0; k < 4; k++) {
        first[16 - odd + k] ^= 0xff;
    }
    __m128i sum = _mm_loadu_si128((const __m128i *)first), next = _mm_loadu_si128((const __m128i *)(first + 16));
    for (Py_ssize_t at = odd; at < n; at += 16) {
        if (at > odd) {
            next = _mm_loadu_si128((const __m128i *)(bytes + at));
        }
        __m128i ahead = _mm_xor_si128(_mm_clmulepi64_si128(sum, by_16, 0x00), _mm_clmulepi64_si128(sum, by_16, 0x11));
        sum = _mm_xor_si128(ahead, next);
    }
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, by_16, 0x10));
    sum = _mm_xor_si128(_mm_srli_si128(sum, 4), _mm_clmulepi64_si128(_mm_and_si128(sum, low), by_4, 0x00));
    __m128i times = _mm_clmulepi64_si128(_mm_and_si128(sum, low), divisor, 0x10);
    sum = _mm_xor_si128(sum, _mm_clmulepi64_si128(_mm_and_si128(times, low), divisor, 0x00));
    return ~(uint32_t)_mm_extract_epi32(sum, 1);
}
#endif

/* The CRC-32 of zlib: by products where the processor has them and there are enough bytes, else by tables, eight at a time. */
static uint32_t crc_of(const uint8_t *bytes, Py_ssize_t n) {
#if defined(__x86_64__)
    if (n >= 32 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        return crc_by_products(bytes, n);
    }
#endif
    uint32_t crc = 0xffffffff;
    for (; n >= 8; n -= 8, bytes += 8) {
        crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        crc = crcs[7][crc & 0xff] ^ crcs[6][crc >> 8 & 0xff] ^ crcs[5][crc >> 16 & 0xff] ^ crcs[4][crc >> 24]
            ^ crcs[3][bytes[4]] ^ crcs[2][bytes[5]] ^ crcs[1][bytes[6]] ^ crcs[0][bytes[7]];
    }
    for (; n > 0; n--, bytes++) {
        crc = crc >> 8 ^ crcs[0][(crc ^ *bytes) & 0xff];
    }
    return ~crc;
}

static void little(uint8_t *bytes, uint32_t number) {
    for (int k = 0; k < 4; k++) {
        bytes[k] = (uint8_t)(number >> (8 * k));
    }
}

PyDoc_STRVAR(kept_doc,
"kept(segment, records, ns)\n--\n\n"
"Append records, each with its length and its check before it, by one call of the system: all of them, or none; tell whether\n"
"that was done. `segment` holds four 64-bit integers: the open file, its size, which is changed, the size that it must stay\n"
"under, and until when it may be written unseen, in nanoseconds since 1970. A file below 0 takes nothing; where half a record\n"
"could not be cut off again, it becomes -2. The interpreter is kept all the time, so that nothing comes in between.");

/* Tell how many bytes records take with what stands before each; -1, with an error, where one is none. */
static int64_t framed_size(PyObject *records, Py_ssize_t n, int is_list) {
    int64_t size = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t length = PyBytes_Size(is_list ? PyList_GetItem(records, i) : PyTuple_GetItem(records, i));
        if (length < 0) {
            return -1;
        }
        if (length > (Py_ssize_t)UINT32_MAX) {
            PyErr_SetString(PyExc_ValueError, "A record must be less than 4 GB.");
            return -1;
        }
        size += length + 8;
    }
    return size;
}

static PyObject *loops_kept(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
    (void)self;
    Py_buffer segment;
    int64_t known[N_SEGMENT];
    if (n_args != 3) {
        PyErr_SetString(PyExc_TypeError, "kept(segment, records, ns)");
        return NULL;
    }
    int64_t ns = PyLong_AsLongLong(args[2]);
    if (ns == -1 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *records = PySequence_Fast(args[1], "records must be a sequence");
    if (records == NULL) {
        return NULL;
    }
    int is_list = PyList_Check(records), done = -1;
    Py_ssize_t n = is_list ? PyList_Size(records) : PyTuple_Size(records);
    int64_t size = framed_size(records, n, is_list);
    uint8_t near[SMALL], *frames = near;
    if (size < 0 || PyObject_GetBuffer(args[0], &segment, PyBUF_WRITABLE) < 0) {
        goto none;
    }
    if (segment.len != sizeof known) {
        PyErr_SetString(PyExc_ValueError, "A segment must be four integers.");
        goto end;
    }
    memcpy(known, segment.buf, sizeof known);
    done = 0;
    if (known[AT_FILE] >= 0 && known[AT_SIZE] + size < known[AT_MOST] && ns <= known[AT_LOOK]) {
        if (size > SMALL && (frames = malloc((size_t)size)) == NULL) {
            PyErr_NoMemory();
            done = -1;
            goto end;
        }
        uint8_t *to = frames;
        for (Py_ssize_t i = 0; i < n; i++) {
            PyObject *record = is_list ? PyList_GetItem(records, i) : PyTuple_GetItem(records, i);
            const char *bytes = PyBytes_AsString(record);
            Py_ssize_t length = PyBytes_Size(record);
            little(to, (uint32_t)length);
            little(to + 4, crc_of((const uint8_t *)bytes, length));
            memcpy(to + 8, bytes, (size_t)length);
            to += 8 + length;
        }
        ssize_t written = write((int)known[AT_FILE], frames, (size_t)size);
        done = written == size;
        if (done) {
            known[AT_SIZE] += size;
        } else if (written > 0 && ftruncate((int)known[AT_FILE], known[AT_SIZE]) < 0) {
            known[AT_FILE] = TORN;
        }
        memcpy(segment.buf, known, sizeof known);
    }
end:
    if (frames != near) {
        free(frames);
    }
    PyBuffer_Release(&segment);
none:
    Py_DECREF(records);
    return done < 0 ? NULL : PyBool_FromLong(done);
}

/* ── the module ────────────────────────────────────────────────────────────────────────────────────────────────── */

static PyMethodDef methods[] = {
    {"forest", loops_forest, METH_VARARGS, forest_doc},
    {"row", (PyCFunction)(void (*)(void))loops_row, METH_FASTCALL, row_doc},
    {"rows", loops_rows, METH_VARARGS, rows_doc},
    {"powers", loops_powers, METH_VARARGS, powers_doc},
    {"tables", loops_tables, METH_VARARGS, tables_doc},
    {"parts", (PyCFunction)(void (*)(void))loops_parts, METH_FASTCALL, parts_doc},
    {"folded", loops_folded, METH_VARARGS, folded_doc},
    {"kept", (PyCFunction)(void (*)(void))loops_kept, METH_FASTCALL, kept_doc},
    {"pulls", loops_pulls, METH_O, pulls_doc},
    {"strongest", (PyCFunction)(void (*)(void))loops_strongest, METH_FASTCALL, strongest_doc},
    {"written", loops_written, METH_VARARGS, written_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "ekiben._loops", "The inner loops of trees, of explanations, of chances, of routes, of records and of the log.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__loops(void) {
    for (int byte = 0; byte < 256; byte++) {
        for (int k = 0; k < 8; k++) {
            spread[byte][k] = (uint8_t)(byte >> k & 1);
        }
    }
    crcs_made();
    return PyModule_Create(&definition);
}
