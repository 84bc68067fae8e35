/* The one place that knows whether oneDNN's C API is 2.x or 3.x. */
#ifndef AAC_BACKEND_ONEDNN_SHIM_H
#define AAC_BACKEND_ONEDNN_SHIM_H

#include <dnnl.h>

#include <aaclip/status.h>

#include "backend/backend.h"

/* A matrix in memory; strides are in elements. */
typedef struct aac_dnnl_matrix {
    int64_t rows, columns;
    int64_t row_stride, column_stride;
    aac_dtype type;
} aac_dnnl_matrix;

typedef struct aac_dnnl_layout {
    dnnl_memory_desc_t native; /* a struct in 2.x, a pointer in 3.x */
} aac_dnnl_layout;

/* Functions that return bool return false when oneDNN refuses or is out of memory. */
bool aac_dnnl_layout_plain(aac_dnnl_layout *layout, const aac_dnnl_matrix *matrix);
bool aac_dnnl_layout_vector(aac_dnnl_layout *layout, int64_t count);
/* The weights layout (inputs, outputs) that a product with operands of `type` prefers. With AAC_I8
 * the other operand is AAC_U8 and the result AAC_I32. */
bool aac_dnnl_layout_weights(aac_dnnl_layout *layout, int64_t inputs, int64_t outputs,
                             aac_dtype type);
/* The same memory seen as (columns, rows). */
bool aac_dnnl_layout_transposed(aac_dnnl_layout *layout, const aac_dnnl_layout *from);
/* Whether the layout is strided, without blocks. */
bool aac_dnnl_layout_is_plain(const aac_dnnl_layout *layout);
/* oneDNN's version, its instruction set here and the layout as text; false when these are not a
 * complete description, or do not fit. */
bool aac_dnnl_layout_text(const aac_dnnl_layout *layout, char *text, size_t size);
size_t aac_dnnl_layout_size(const aac_dnnl_layout *layout);
void aac_dnnl_layout_free(aac_dnnl_layout *layout);

dnnl_engine_t aac_dnnl_engine(void); /* the processor; NULL when oneDNN has none */
/* Whether oneDNN multiplies bfloat16 here: the processor's answer, within ONEDNN_MAX_CPU_ISA. */
bool aac_dnnl_has_bf16(void);
bool aac_dnnl_has_amx(void); /* matrix units */

/* The caller's memory in the role DNNL_ARG_...; an argument without a layout is omitted. */
typedef struct aac_dnnl_argument {
    int role;
    const aac_dnnl_layout *layout;
    const void *data;
} aac_dnnl_argument;

#define AAC_DNNL_MAX_ARGUMENTS 5

/* Runs to completion in the calling thread's parallel team; `scratch` as aac_dnnl_matmul asked. */
bool aac_dnnl_execute(dnnl_primitive_t primitive, const aac_dnnl_argument *arguments, int count,
                      size_t scratch_size, void *scratch);

typedef struct aac_dnnl_epilogue {
    aac_activation activation;
    float slope;
    bool accumulate;
} aac_dnnl_epilogue;

/* destination = activation(source weights + bias) [+ destination]; `bias` may be NULL. */
bool aac_dnnl_matmul(dnnl_primitive_t *primitive, size_t *scratch, const aac_dnnl_layout *source,
                     const aac_dnnl_layout *weights, const aac_dnnl_layout *bias,
                     const aac_dnnl_layout *destination, const aac_dnnl_epilogue *epilogue);

/* Copies between layouts and types; oneDNN allocates any memory that it needs for this. */
bool aac_dnnl_reorder_new(dnnl_primitive_t *primitive, const aac_dnnl_layout *source,
                          const aac_dnnl_layout *destination);
bool aac_dnnl_reorder_run(dnnl_primitive_t primitive, const aac_dnnl_layout *source,
                          const void *from, const aac_dnnl_layout *destination, void *to);
/* Both at once. */
bool aac_dnnl_reorder(const aac_dnnl_layout *source, const void *from,
                      const aac_dnnl_layout *destination, void *to);

#endif
