/*
 * The vtable behind every heavy step. A backend is one folder, one row in registry.c and one build
 * option. It says which operations it supports; dispatch.c gives the rest to `simd`, and what that
 * lacks to `reference`.
 *
 * Work is split into plan (once; may allocate, compile, choose algorithms) and run (any number of
 * times; does none of these). Plans and packed weights are immutable and shared by threads; the
 * scratch memory of a run belongs to the caller. Callers check every argument; backends do not.
 *
 * Matrices are row-major and dense: row i follows row i - 1 without a gap. Vectors (bias, gain) are
 * float32. float32 in means float32 arithmetic; bfloat16 and float16 operands are multiplied as
 * they are and accumulated in float32 or better, results are rounded once, to nearest even. A
 * forward operation that can take bfloat16 can take float16: few backends support it, and only
 * `reference` has backward operations in it.
 */
#ifndef AAC_BACKEND_BACKEND_H
#define AAC_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "core/tensor.h"

typedef enum aac_op {
    AAC_OP_LINEAR,
    AAC_OP_LAYER_NORM,
    AAC_OP_ATTENTION,
    AAC_OP_BLEND,
    AAC_OP_NORMALIZE,
    AAC_OP_CONVERT,
    AAC_OP_GATHER,
    AAC_OP_PATCHES,
    AAC_OP_SIMILARITY,
    AAC_OP_ANOMALY_MAP,
    AAC_OP_ACTIVATE,
    AAC_OP_ACTIVATE_BACKWARD,
    AAC_OP_LINEAR_GRADIENT,
    AAC_OP_LAYER_NORM_BACKWARD,
    AAC_OP_ATTENTION_BACKWARD,
    AAC_OP_BLEND_BACKWARD,
    AAC_OP_NORMALIZE_BACKWARD,
    AAC_OP_GATHER_BACKWARD,
    AAC_OP_SIMILARITY_BACKWARD,
    AAC_OP_SEGMENTATION_LOSS,
    AAC_OP_CLASSIFICATION_LOSS,
    AAC_OP_FINITE,
    AAC_OP_ADAM,
    AAC_OP_COUNT
} aac_op;

typedef enum aac_activation {
    AAC_ACTIVATION_NONE,
    AAC_ACTIVATION_QUICK_GELU, /* x * sigmoid(1.702 x) */
    AAC_ACTIVATION_GELU,       /* x * (1 + erf(x / sqrt 2)) / 2 */
    AAC_ACTIVATION_LEAKY_RELU  /* x < 0 ? slope * x : x */
} aac_activation;

typedef enum aac_attention_kind {
    AAC_ATTENTION_FULL,
    AAC_ATTENTION_CAUSAL, /* row i sees rows 0 .. i of its sequence */
    AAC_ATTENTION_VALUE,  /* q and k are both v ("surgery"): x holds v alone */
    AAC_ATTENTION_TREE    /* row i sees itself and its ancestors: sequences with common prefixes */
} aac_attention_kind;

/*
 * Everything known before the data; supports() and plan() decide on it. A backward operation is
 * described like its forward one: `dy` is the gradient of what the forward operation wrote, `x`
 * what it read. The gradient of a linear layer's input is a linear operation itself, with the
 * layer's own weight `transposed`.
 */
typedef struct aac_op_desc {
    aac_op op;
    bool tensor_float; /* linear, linear gradient: float32 operands are rounded to TF32; set by the
                          dispatch, only for a backend that supports it */
    union {
        /* y (rows, outputs) = activation(x (rows, inputs) W^T + bias), added to y if accumulate.
         * accumulate goes with y float32 and no activation. x, y: float32 or bfloat16.
         * transposed: y = x W [+ y], where W (inputs, outputs) was packed as the weight of the
         * layer in the opposite direction; a bias packed with it is ignored. No activation.
         * quantized: a weight packed as AAC_I8. Integers are multiplied and summed exactly,
         *   x W^T = step[row] * channel_step[output] * sum((q - zero[row]) * channel_q)
         * with q = clamp(rint(x / step) + zero, 0, 255) per row, step = (max - min) / 255 and zero
         * = rint(-min / step), where min and max include 0; channel_q = rint(w / channel_step),
         * channel_step = max(|w|) / limit per output. The limit is 126, or 63 on processors whose
         * sums of larger products would saturate. A row or channel with a non-finite value gives
         * NaN. */
        struct {
            int64_t rows, inputs, outputs;
            aac_dtype x, y;
            aac_activation activation;
            float slope;
            bool bias, accumulate, quantized, transposed;
        } linear;
        /* y = (x - mean) / sqrt(var + epsilon) * gain + bias over each row; x float32. Backward:
         * the gradient of x is added to y; x, dy, y float32; `y`: type of args.rounded. */
        struct {
            int64_t rows, columns;
            aac_dtype y;
            float epsilon;
        } layer_norm;
        /* For each sequence and head softmax(q k^T / sqrt(head_size)) v. x (rows, 3 * heads *
         * head_size) holds q, k, v side by side; y (rows, heads * head_size); one type for both.
         * Backward: y (rows, 3 * heads * head_size) is the gradient of x, from x, the forward
         * result `out` and dy. AAC_ATTENTION_VALUE: x (rows, heads * head_size); no backward, as no
         * gradient passes through it. AAC_ATTENTION_TREE uses args.parents instead of sequences. */
        struct {
            int64_t longest; /* rows of the longest sequence; of a tree: the most that a row sees */
            bool uniform;    /* every sequence has that many rows */
            int64_t heads, head_size;
            aac_attention_kind kind;
            aac_dtype type;
            int64_t rows;  /* of all sequences, or of the tree */
            int64_t pairs; /* of a tree: rows that each row sees, summed; for cost estimates only */
        } attention;
        /* y = weight * a * |x| / |a| + (1 - weight) * x over each row, float32, y may be x; |a| = 0
         * leaves (1 - weight) * x. Backward: y receives the gradient of x (y may be dy), da that of
         * a. */
        struct {
            int64_t rows, columns;
            float weight;
        } blend;
        /* y = x / max(|x|, 1e-12) over each row, float32; with mean, y (1, columns) is the mean of
         * the normalized rows instead. In place when x == y and not mean. Backward: y (rows,
         * columns) is the gradient of x; dy is (1, columns) with mean, else may be y. */
        struct {
            int64_t rows, columns;
            bool mean;
        } normalize;
        /* y = x in another type: float32 <-> bfloat16. */
        struct {
            int64_t rows, columns;
            aac_dtype x, y;
        } convert;
        /* y (rows, columns): row i is row args.index[i] of x (sources, columns). Backward, float32:
         * y (sources, columns) is the gradient of x, in which the rows of dy that came from one
         * source are added up. */
        struct {
            int64_t rows, sources, columns;
            aac_dtype type;
        } gather;
        /* RGB bytes (size, size, 3) to patches y (grid * grid, 3 * patch * patch), columns in the
         * order channel, row, column; each value (byte / 255 - mean) / deviation. */
        struct {
            int64_t size, patch; /* size is a multiple of patch */
            float mean[3], deviation[3];
            aac_dtype y;
        } patches;
        /* y (rows, 2) = scale * x (rows, columns) . pair (2, columns)^T, float32. Backward: y
         * (rows, columns) is the gradient of x, that of the pair is added to da; either may be
         * NULL. */
        struct {
            int64_t rows, columns;
            float scale;
        } similarity;
        /* y (size, size): for each level m = (s[1] + 1 - s[0]) / 2 on the grid, Gaussian blur with
         * reflected borders, bilinear to size with aligned corners; summed over the levels.
         * x (levels, grid * grid, 2) float32, dense. */
        struct {
            int64_t levels, grid, size;
            int64_t kernel; /* odd; kernel / 2 < grid */
            float sigma;
        } anomaly_map;
        /* y = activation(x). Backward: y = dy * activation'(x), in place when y == dy; for a leaky
         * ReLU x may also be the activated value. One type for all. */
        struct {
            int64_t rows, columns;
            aac_activation activation;
            float slope;
            aac_dtype type;
        } activate;
        /* y (outputs, inputs) += dy (rows, outputs)^T x (rows, inputs); y float32, x and dy of one
         * type. */
        struct {
            int64_t rows, inputs, outputs;
            aac_dtype type;
        } linear_gradient;
        /* From similarities x (maps, grid * grid, 2) and one mask (size, size) of zeros and ones,
         * for each map: both channels bilinear to size with aligned corners, p = softmax of the
         * two. Adds to `losses`
         *   [0] focal: mean of -alpha (1 - pt)^2 log(pt), pt = o p[1] + (1 - o) p[0] + 1e-5 with
         *       o = mask clamped to [1e-5, 1 - 1e-5]; alpha 1 or, balanced, twice the other kind's
         *       share of the pixels (1 if there is only one kind),
         *   [1] 1 - (2 sum(p[0] t) + 1) / (sum(p[0]) + sum(t) + 1) with t = 1 - mask,
         *   [2] the same of p[1] with t = mask,
         * and writes y (maps, grid * grid, 2) = factor * the gradient of their sum. */
        struct {
            int64_t maps, grid, size;
            bool balanced;
        } segmentation_loss;
        /* For each row of x (rows, columns) with its own pair of a (rows, 2, columns) and its label
         * args.index (rows), 0 for normal and 1 for abnormal: adds to `losses`
         *   [0] the cross entropy of [x . pair[0], x . pair[1]] against the label,
         * and writes y (rows, columns) = factor * its gradient, unless y is NULL. A label of -1
         * excludes a row: it has no loss and a gradient of zeros. */
        struct {
            int64_t rows, columns;
        } classification_loss;
        /* y (1) = 1 if every value of x (count) is a finite number, else 0; float32. */
        struct {
            int64_t count;
        } finite;
        /* One step on y (count) with the gradient dy; the moments are updated. float32. */
        struct {
            int64_t count;
        } adam;
    };
} aac_op_desc;

typedef struct aac_backend aac_backend;

/* A frozen matrix (outputs, inputs) and its bias in the backend's own layout. */
typedef struct aac_weight {
    const aac_backend *backend;
    int64_t outputs, inputs;
    bool bias;
    bool in_place; /* reads the tensors it was packed from; else it has a copy */
    bool quantized;
    bool adopted; /* its matrix and vectors lie in the caller's memory */
} aac_weight;

#define AAC_WEIGHT_PIECES 4
#define AAC_LAYOUT_TEXT   640

/* A packed weight as bytes that can be kept in a file and shared by processes. */
typedef struct aac_weight_image {
    /* All that the meaning of the bytes depends on: backend, version, instruction set, precision,
     * shape, blocks. Bytes packed under one text are only read under the same text. */
    char layout[AAC_LAYOUT_TEXT];
    struct {
        const void *data; /* 64-byte aligned */
        size_t size;
    } pieces[AAC_WEIGHT_PIECES];
    int count;
} aac_weight_image;

/* Adam as in PyTorch: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, y -= rate / (1 - b1^step) * m
 * / (sqrt(v) / sqrt(1 - b2^step) + epsilon). */
typedef struct aac_adam_step {
    double rate, beta1, beta2, epsilon;
    int64_t step;                        /* counted from 1 */
    float *first_moment, *second_moment; // (count) m, v
} aac_adam_step;

/* What a run needs. Members that an operation does not use are ignored. */
typedef struct aac_op_args {
    const void *x;
    void *y;
    const aac_weight *weight; /* linear */
    const float *added; /* linear with accumulate, if the plan adds_elsewhere: the addend (rows,
                           outputs) in place of y; NULL: y */
    const float *gain, *bias; /* layer norm (columns) */
    const float *a;           /* blend: adapted rows, dense; similarity: the pair (2, columns);
                                 classification loss: pairs */
    const int32_t *offsets;   /* attention: sequence i is rows offsets[i] .. offsets[i + 1] */
    int64_t sequences;        /* attention */
    const int32_t
        *parents; /* attention over a tree (rows): each row's parent, an earlier row; < 0: none */
    const int32_t *index; /* gather, classification loss (rows) */
    const void *dy;       /* backward operations, linear gradient, adam */
    const void *out;      /* attention backward: what the forward run wrote */
    void *rounded; /* layer norm backward, if the plan rounds: (rows, columns), receives the new y
                      in the type given in the description, too; NULL: not wanted */
    float *sums;   /* attention (heads, rows), if the plan keeps_sums: written by the forward run,
                      read by the backward run; NULL: not wanted, or not available */
    float *da;     /* blend, similarity backward */
    const uint8_t *mask; /* segmentation loss */
    double *losses;      /* added to: 3 sums (segmentation), 1 sum (classification) */
    float factor;        /* of the loss operations */
    const aac_adam_step *adam;
} aac_op_args;

/* Backends embed this as the first member of their plan. */
typedef struct aac_plan {
    const aac_backend *backend;
    aac_op_desc desc;
    size_t scratch; /* bytes that a run needs, 64-byte aligned */
    int threads;
    int device;          /* set by the dispatch */
    unsigned forks;      /* likewise: fork count of the process that made it */
    bool adds_elsewhere; /* linear: args.added may be set */
    bool rounds;         /* layer norm backward: args.rounded may be set */
    bool keeps_sums; /* attention: a forward run can leave in args.sums what the backward run would
                        otherwise recompute; the contents are up to the backend */
    aaclip_status (*run)(const struct aac_plan *plan, const aac_op_args *args, void *scratch);
} aac_plan;

/*
 * Memory of a backend with an address space of its own. Everything that an operation's args point
 * to lies there, scratch included, except `weight` and `adam` (but adam's moments do). A thread's
 * runs and these calls execute in the order in which it makes them, possibly after they return.
 */
typedef struct aac_backend_memory {
    void *(*allocate)(size_t bytes); /* 64-byte aligned; NULL: out of memory, no error is set */
    void (*release)(void *memory);
    /* Either side may be host memory, which may be reused on return. */
    aaclip_status (*copy)(void *to, const void *from, size_t bytes);
    aaclip_status (*clear)(void *memory, size_t bytes); /* zeros */
    /* Waits for everything the thread has queued; NULL: all calls are synchronous. */
    aaclip_status (*finish)(void);
    /* Host memory that is faster to copy to and from, 64-byte aligned; both NULL: any will do. */
    void *(*allocate_host)(size_t bytes);
    void (*release_host)(void *memory);
} aac_backend_memory;

/* The devices of a backend that has several. All calls act on the one that the thread entered. */
typedef struct aac_backend_devices {
    int (*count)(void);
    int (*enter)(int device);           /* returns the previous one, to be re-entered afterwards */
    aaclip_status (*check)(int device); /* NULL: all are usable */
} aac_backend_devices;

/* Timing of a backend whose runs are asynchronous. */
typedef struct aac_backend_clock {
    void *(*mark)(void); /* the end of all work the thread has queued; NULL: out of memory */
    double (*seconds)(const void *from, const void *to); /* waits for both; < 0: unknown */
    void (*release)(void *mark);
} aac_backend_clock;

/*
 * Records runs, and copies and clears within the backend's memory, without executing them, to be
 * replayed as a whole. Between begin and end the thread calls nothing else.
 */
typedef struct aac_backend_recorder {
    aaclip_status (*begin)(void);
    aaclip_status (*end)(void **recording); /* ends it even on failure; *recording is then NULL */
    aaclip_status (*play)(void *recording); /* by one thread at a time */
    void (*release)(void *recording);       /* may be NULL */
} aac_backend_recorder;

struct aac_backend {
    const char *name;
    const aac_backend_memory *memory;     /* NULL: host memory */
    const aac_backend_devices *devices;   /* NULL: no choice */
    const aac_backend_clock *clock;       /* NULL: runs are done when they return */
    const aac_backend_recorder *recorder; /* NULL: has none */
    bool tensor_float;                    /* can multiply in TF32 */
    bool whole_teams; /* right only with as many threads as it was told when planning */
    /* false when the processor or the installed library cannot run it. Sets no error. */
    bool (*available)(void);
    /* Optional: what it lacks when it is not available. Static. */
    const char *(*missing)(void);
    /*
     * Asked only of an available backend. For AAC_OP_LINEAR the answer depends on inputs, outputs
     * and the type of x alone, not on rows, bias, activation or accumulate, nor on whether y has
     * that type or is float32: a matrix is packed once and multiplied under any of them. A
     * quantized one is packed with float32 x and y in the description; where bfloat16 is supported
     * too, it also runs with that. A `transposed` product has the same answer as the layer in the
     * opposite direction.
     */
    bool (*supports)(const aac_op_desc *desc);
    /* *plan is NULL on failure. */
    aaclip_status (*plan)(aac_plan **plan, const aac_op_desc *desc, int threads);
    void (*plan_free)(aac_plan *plan);
    /*
     * Weights for linear operations with operands of `type`, AAC_I8 for quantized ones: `parts`
     * row blocks of rank 2 stacked to (outputs, inputs), any strides and types; `bias_parts` of
     * rank 1 or NULL. What can be used in place is not copied, so the tensors' memory must outlive
     * the weight.
     */
    aaclip_status (*pack)(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type,
                          int threads);
    /*
     * Packs new values of the same shapes into a weight that no run is using; its contents are
     * undefined after a failure. Strides and types are also the same, or the values are dense
     * float32 in the backend's own memory; a backend with such memory must implement this. Never
     * called for integers. NULL: the backend always packs a new weight.
     */
    aaclip_status (*repack)(aac_weight *weight, const aac_tensor *parts,
                            const aac_tensor *bias_parts, int part_count, aac_dtype type);
    void (*weight_free)(aac_weight *weight);
    /*
     * The weight's own memory, valid for its lifetime. A count of 0: it cannot be saved. NULL: no
     * weight of this backend can.
     */
    void (*weight_image)(const aac_weight *weight, aac_weight_image *image);
    /*
     * A weight for the linear operation `desc` that uses the pieces of an image without a copy; the
     * pieces must outlive it. If layout or sizes are not what `pack` would produce now, *weight is
     * NULL without an error.
     */
    aaclip_status (*adopt)(aac_weight **weight, const aac_op_desc *desc,
                           const aac_weight_image *image);
};

extern const aac_backend aac_backend_reference;
extern const aac_backend aac_backend_simd;
extern const aac_backend aac_backend_onednn;
extern const aac_backend aac_backend_blas;
extern const aac_backend aac_backend_cuda;

/* All backends of this build, best first; the last one, `reference`, supports everything. */
size_t aac_backend_count(void);
const aac_backend *aac_backend_at(size_t index);
const char *aac_op_name(aac_op op);
/* For tests, before anything is opened: the build has this backend alone; NULL: all again. */
void aac_backend_only(const aac_backend *backend);

/*
 * The chosen backend, then `simd`, then `reference`: tried in this order. One with memory of its
 * own has no fallback.
 */
typedef struct aac_dispatch {
    const aac_backend *chain[4];
    int chain_length;
    int threads;       /* at most; work too small to share runs on one */
    int device;        /* of the chosen one */
    unsigned forks;    /* fork count of the process that opened it */
    bool tensor_float; /* float32 is multiplied as TF32 */
} aac_dispatch;

/*
 * `name` NULL or "auto": the best available. "NAME:N" is device N of a backend that has several.
 * NOT_FOUND lists the names that this build has.
 */
aaclip_status aac_dispatch_open(aac_dispatch *dispatch, const char *name, int threads);
/* The thread's calls go to the dispatch's device until it leaves, passing what this returned. */
int aac_dispatch_enter(const aac_dispatch *dispatch);
void aac_dispatch_leave(const aac_dispatch *dispatch, int previous);
/* The first backend of the chain that supports `desc`. */
const aac_backend *aac_dispatch_choose(const aac_dispatch *dispatch, const aac_op_desc *desc);
aaclip_status aac_dispatch_plan(const aac_dispatch *dispatch, aac_plan **plan,
                                const aac_op_desc *wanted);
/* Packs for the backend that runs linear operations of this shape and type. */
aaclip_status aac_dispatch_pack(const aac_dispatch *dispatch, aac_weight **weight,
                                const aac_tensor *parts, const aac_tensor *bias_parts,
                                int part_count, aac_dtype type);

/* The same, replacing *weight, which is NULL or was packed from tensors like these: its memory is
 * reused if the backend can. */
aaclip_status aac_dispatch_repack(const aac_dispatch *dispatch, aac_weight **weight,
                                  const aac_tensor *parts, const aac_tensor *bias_parts,
                                  int part_count, aac_dtype type);
/* The operation that aac_dispatch_pack packs for; its rows, y and activation are meaningless. */
aac_op_desc aac_dispatch_describe(const aac_tensor *parts, const aac_tensor *bias_parts,
                                  int part_count, aac_dtype type);
/* The weight that aac_dispatch_pack would make, using an image's memory in place; NULL without an
 * error if the image does not fit. */
aaclip_status aac_dispatch_adopt(const aac_dispatch *dispatch, aac_weight **weight,
                                 const aac_op_desc *desc, const aac_weight_image *image);

void aac_plan_free(aac_plan **plan);
void aac_weight_free(aac_weight **weight);

/* false if it cannot be kept outside the process. */
bool aac_weight_get_image(const aac_weight *weight, aac_weight_image *image);
/* Whether `found` has the layout and sizes of `own`, except for padding up to the alignment, and
 * aligned pieces. */
bool aac_weight_image_fits(const aac_weight_image *own, const aac_weight_image *found);

/* Bytes of scratch that suffice for any of the plans; NULL plans need none. */
size_t aac_largest_scratch(const aac_plan *const *plans, size_t count);

/* BACKEND if the devices belong to a process that this one was forked from. */
aaclip_status aac_backend_check_process(const aac_backend *backend, unsigned forks);
aaclip_status aac_dispatch_check_process(const aac_dispatch *dispatch); /* of the chosen backend */

/* Runs a plan with its number of threads; attention too small to share runs on one. */
aaclip_status aac_run(const aac_plan *plan, const aac_op_args *args, void *scratch);

#endif
