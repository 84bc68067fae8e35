/* What the files of linear layers share: float32 first, 8-bit integers at the end. */
#ifndef AAC_BACKEND_SIMD_LINEAR_H
#define AAC_BACKEND_SIMD_LINEAR_H

#include "backend/simd/simd.h"

/* A matrix (outputs, inputs) as panels for the block kernels: (outputs / columns, inputs, columns),
 * the last one padded with zeros. */
typedef struct aac_simd_weight {
    aac_weight base;
    float *panels;
    float *bias; // (outputs in whole panels) or NULL
} aac_simd_weight;

/*
 * How an operation is shared out. Rows are divided in units of kernel blocks, as evenly as these
 * allow. Inputs are taken in steps short enough that the panel that all rows are multiplied with
 * stays in the first-level cache, and the rows of a task in the second.
 */
typedef struct aac_simd_split {
    int64_t blocks, row_tasks;   /* blocks of rows; tasks that share them */
    int64_t pieces, piece_tasks; /* panels, or blocks of outputs where transposed; tasks likewise */
    int64_t depth;               /* inputs of a step */
    int64_t rows, outputs;       /* of the largest task, in whole blocks */
} aac_simd_split;

/* What the caches allow. */
typedef struct aac_simd_step {
    int64_t panel_bytes;           /* of one step, at most */
    int64_t task_rows, least_rows; /* of a task: at most; at least, if there are that many */
    int64_t pieces;                /* into which a task's outputs are also divided */
} aac_simd_step;
extern const aac_simd_step aac_simd_short_step;
/* With 64-byte vectors a block is so large that both operands may come from second-level cache. */
bool aac_simd_has_long_steps(void);

/* `row_unit` rows make a block, `unit` outputs a piece. */
aac_simd_split aac_simd_split_linear(const aac_op_desc *desc, int threads,
                                     const aac_simd_step *step, int64_t row_unit, int64_t unit);

static inline int64_t aac_simd_divide_up(int64_t count, int64_t unit)
{
    return (count + unit - 1) / unit;
}

static inline int64_t aac_simd_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

aaclip_status aac_simd_pack(aac_weight **weight, const aac_tensor *parts,
                            const aac_tensor *bias_parts, int part_count, aac_dtype type,
                            int threads);
aaclip_status aac_simd_repack(aac_weight *weight, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type);
void aac_simd_weight_free(aac_weight *weight);
void aac_simd_weight_image(const aac_weight *weight, aac_weight_image *image);
aaclip_status aac_simd_adopt(aac_weight **weight, const aac_op_desc *desc,
                             const aac_weight_image *image);

aaclip_status aac_simd_linear(const aac_plan *base, const aac_op_args *args, void *scratch);
aaclip_status aac_simd_transposed_linear(const aac_plan *base, const aac_op_args *args,
                                         void *scratch);
aaclip_status aac_simd_linear_gradient(const aac_plan *base, const aac_op_args *args,
                                       void *scratch);
/* Floats of scratch per thread. */
int64_t aac_simd_linear_floats(const aac_op_desc *desc, int threads);
int64_t aac_simd_transposed_linear_floats(const aac_op_desc *desc, int threads);
/* For all threads together. */
int64_t aac_simd_transposed_matrix_floats(const aac_op_desc *desc);
int64_t aac_simd_linear_gradient_floats(const aac_op_desc *desc, int threads);

/* The same for 8-bit integers; bfloat16 in or out only with narrow kernels. */
bool aac_simd_multiplies_int8(const aac_op_desc *desc);
aaclip_status aac_simd_pack_int8(aac_weight **weight, const aac_tensor *parts,
                                 const aac_tensor *bias_parts, int part_count);
void aac_simd_int8_free(aac_weight *weight);
void aac_simd_int8_image(const aac_weight *weight, aac_weight_image *image);
aaclip_status aac_simd_adopt_int8(aac_weight **weight, const aac_op_desc *desc,
                                  const aac_weight_image *image);
aaclip_status aac_simd_linear_int8(const aac_plan *base, const aac_op_args *args, void *scratch);
/* Bytes of scratch for all threads. */
size_t aac_simd_int8_scratch(const aac_op_desc *desc, int threads);

#endif
