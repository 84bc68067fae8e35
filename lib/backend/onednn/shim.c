#include "backend/onednn/shim.h"

#include <stdio.h>
#include <string.h>

#define ONEDNN_3 (DNNL_VERSION_MAJOR >= 3)

static dnnl_engine_t engine;

__attribute__((constructor)) static void create_engine(void)
{
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        engine = NULL;
}

__attribute__((destructor)) static void destroy_engine(void)
{
    if (engine)
        dnnl_engine_destroy(engine);
}

dnnl_engine_t aac_dnnl_engine(void)
{
    return engine;
}

bool aac_dnnl_has_bf16(void)
{
    const unsigned wanted = dnnl_cpu_isa_avx512_core_bf16;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

bool aac_dnnl_has_amx(void)
{
    const unsigned wanted = dnnl_cpu_isa_avx512_core_amx;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

static dnnl_data_type_t native_type(aac_dtype type)
{
    switch (type) {
    case AAC_BF16:
        return dnnl_bf16;
    case AAC_U8:
        return dnnl_u8;
    case AAC_I8:
        return dnnl_s8;
    case AAC_I32:
        return dnnl_s32;
    default:
        return dnnl_f32;
    }
}

static const int transposed_axes[] = {1, 0};

/* Members of a blocked layout; take_apart is false for any other layout, or none. */
typedef struct layout_parts {
    int rank, blocks, type;
    uint64_t extra;
    const int64_t *dims, *padded, *strides, *sizes, *order;
} layout_parts;

#if ONEDNN_3

typedef const_dnnl_memory_desc_t layout_view;

static layout_view view(const aac_dnnl_layout *layout)
{
    return layout ? layout->native : NULL;
}

static bool create_strided(aac_dnnl_layout *layout, int rank, const dnnl_dims_t dims,
                           dnnl_data_type_t type, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(&layout->native, rank, dims, type, strides) ==
           dnnl_success;
}

static bool create_any(aac_dnnl_layout *layout, int rank, const dnnl_dims_t dims,
                       dnnl_data_type_t type)
{
    return dnnl_memory_desc_create_with_tag(&layout->native, rank, dims, type,
                                            dnnl_format_tag_any) == dnnl_success;
}

static bool clone(aac_dnnl_layout *layout, layout_view source)
{
    return dnnl_memory_desc_clone(&layout->native, source) == dnnl_success;
}

bool aac_dnnl_layout_transposed(aac_dnnl_layout *layout, const aac_dnnl_layout *from)
{
    return dnnl_memory_desc_permute_axes(&layout->native, from->native, transposed_axes) ==
           dnnl_success;
}

bool aac_dnnl_layout_is_plain(const aac_dnnl_layout *layout)
{
    int blocks = 0;
    return dnnl_memory_desc_query(layout->native, dnnl_query_inner_nblks_s32, &blocks) ==
               dnnl_success &&
           blocks == 0;
}

static const int64_t *query_dims(layout_view layout, dnnl_query_t what)
{
    dnnl_dims_t *found = NULL;
    return dnnl_memory_desc_query(layout, what, &found) == dnnl_success && found ? *found : NULL;
}

static bool take_apart(layout_view layout, layout_parts *parts)
{
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_data_type_t type = dnnl_data_type_undef;
    bool known =
        dnnl_memory_desc_query(layout, dnnl_query_format_kind, &kind) == dnnl_success &&
        kind == dnnl_blocked &&
        dnnl_memory_desc_query(layout, dnnl_query_ndims_s32, &parts->rank) == dnnl_success &&
        dnnl_memory_desc_query(layout, dnnl_query_data_type, &type) == dnnl_success &&
        dnnl_memory_desc_query(layout, dnnl_query_inner_nblks_s32, &parts->blocks) == dnnl_success;
    parts->type = type;
    parts->extra = 0; /* follows from version, instruction set and what is multiplied */
    parts->dims = query_dims(layout, dnnl_query_dims);
    parts->padded = query_dims(layout, dnnl_query_padded_dims);
    parts->strides = query_dims(layout, dnnl_query_strides);
    parts->sizes = query_dims(layout, dnnl_query_inner_blks);
    parts->order = query_dims(layout, dnnl_query_inner_idxs);
    return known && parts->dims && parts->padded && parts->strides && parts->sizes && parts->order;
}

void aac_dnnl_layout_free(aac_dnnl_layout *layout)
{
    if (layout->native)
        dnnl_memory_desc_destroy(layout->native);
    layout->native = NULL;
}

static dnnl_status_t append_epilogue(dnnl_post_ops_t operations, dnnl_alg_kind_t algorithm,
                                     float alpha)
{
    return dnnl_post_ops_append_eltwise(operations, algorithm, alpha, 0.0f);
}

static dnnl_status_t append_sum(dnnl_post_ops_t operations)
{
    return dnnl_post_ops_append_sum(operations, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *desc, layout_view source,
                                 layout_view weights, layout_view bias, layout_view destination,
                                 const_dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(desc, engine, source, weights, bias, destination,
                                             attributes);
}

#else

typedef const dnnl_memory_desc_t *layout_view;

static layout_view view(const aac_dnnl_layout *layout)
{
    return layout ? &layout->native : NULL;
}

static bool create_strided(aac_dnnl_layout *layout, int rank, const dnnl_dims_t dims,
                           dnnl_data_type_t type, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(&layout->native, rank, dims, type, strides) ==
           dnnl_success;
}

static bool create_any(aac_dnnl_layout *layout, int rank, const dnnl_dims_t dims,
                       dnnl_data_type_t type)
{
    return dnnl_memory_desc_init_by_tag(&layout->native, rank, dims, type, dnnl_format_tag_any) ==
           dnnl_success;
}

static bool clone(aac_dnnl_layout *layout, layout_view source)
{
    layout->native = *source;
    return true;
}

bool aac_dnnl_layout_transposed(aac_dnnl_layout *layout, const aac_dnnl_layout *from)
{
    return dnnl_memory_desc_permute_axes(&layout->native, &from->native, transposed_axes) ==
           dnnl_success;
}

bool aac_dnnl_layout_is_plain(const aac_dnnl_layout *layout)
{
    return layout->native.format_kind == dnnl_blocked &&
           layout->native.format_desc.blocking.inner_nblks == 0;
}

static bool take_apart(layout_view layout, layout_parts *parts)
{
    if (!layout)
        return false;
    const dnnl_blocking_desc_t *blocking = &layout->format_desc.blocking;
    *parts = (layout_parts){layout->ndims,       blocking->inner_nblks, (int)layout->data_type,
                            layout->extra.flags, layout->dims,          layout->padded_dims,
                            blocking->strides,   blocking->inner_blks,  blocking->inner_idxs};
    return layout->format_kind == dnnl_blocked;
}

void aac_dnnl_layout_free(aac_dnnl_layout *layout)
{
    memset(layout, 0, sizeof *layout);
}

static dnnl_status_t append_epilogue(dnnl_post_ops_t operations, dnnl_alg_kind_t algorithm,
                                     float alpha)
{
    return dnnl_post_ops_append_eltwise(operations, 1.0f, algorithm, alpha, 0.0f);
}

static dnnl_status_t append_sum(dnnl_post_ops_t operations)
{
    return dnnl_post_ops_append_sum(operations, 1.0f);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *desc, layout_view source,
                                 layout_view weights, layout_view bias, layout_view destination,
                                 const_dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t operation;
    dnnl_status_t status = dnnl_matmul_desc_init(&operation, source, weights, bias, destination);
    return status ? status : dnnl_primitive_desc_create(desc, &operation, attributes, engine, NULL);
}

#endif

bool aac_dnnl_layout_plain(aac_dnnl_layout *layout, const aac_dnnl_matrix *matrix)
{
    const dnnl_dims_t dims = {matrix->rows, matrix->columns};
    const dnnl_dims_t strides = {matrix->row_stride, matrix->column_stride};
    return create_strided(layout, 2, dims, native_type(matrix->type), strides);
}

bool aac_dnnl_layout_vector(aac_dnnl_layout *layout, int64_t count)
{
    const dnnl_dims_t dims = {1, count}, strides = {count, 1};
    return create_strided(layout, 2, dims, dnnl_f32, strides);
}

static bool append_numbers(char *text, size_t size, const char *what, const int64_t *numbers,
                           int count)
{
    size_t used = strlen(text);
    used += (size_t)snprintf(text + used, size - used, "%s", what);
    for (int i = 0; used < size && i < count; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ",%lld" : " %lld",
                                 (long long)numbers[i]);
    return used < size;
}

bool aac_dnnl_layout_text(const aac_dnnl_layout *layout, char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    layout_parts parts = {0};
    if (!take_apart(view(layout), &parts))
        return false;
    int used = snprintf(text, size, "onednn %d.%d.%d %s isa %x type %d extra %llx", version->major,
                        version->minor, version->patch, version->hash ? version->hash : "",
                        (unsigned)dnnl_get_effective_cpu_isa(), parts.type,
                        (unsigned long long)parts.extra);
    return used > 0 && (size_t)used < size &&
           append_numbers(text, size, " dims", parts.dims, parts.rank) &&
           append_numbers(text, size, " padded", parts.padded, parts.rank) &&
           append_numbers(text, size, " strides", parts.strides, parts.rank) &&
           append_numbers(text, size, " blocks", parts.sizes, parts.blocks) &&
           append_numbers(text, size, " of", parts.order, parts.blocks);
}

size_t aac_dnnl_layout_size(const aac_dnnl_layout *layout)
{
    return dnnl_memory_desc_get_size(view(layout));
}

static bool append_activation(dnnl_post_ops_t operations, const aac_dnnl_epilogue *epilogue)
{
    switch (epilogue->activation) {
    case AAC_ACTIVATION_NONE:
        return true;
    case AAC_ACTIVATION_QUICK_GELU:
        return append_epilogue(operations, dnnl_eltwise_swish, 1.702f) == dnnl_success;
    case AAC_ACTIVATION_GELU:
        return append_epilogue(operations, dnnl_eltwise_gelu_erf, 0.0f) == dnnl_success;
    case AAC_ACTIVATION_LEAKY_RELU:
        return append_epilogue(operations, dnnl_eltwise_relu, epilogue->slope) == dnnl_success;
    }
    return false;
}

static bool fill_attributes(dnnl_primitive_attr_t attributes, dnnl_post_ops_t operations,
                            const aac_dnnl_epilogue *epilogue)
{
    return append_activation(operations, epilogue) &&
           (!epilogue->accumulate || append_sum(operations) == dnnl_success) &&
           dnnl_primitive_attr_set_post_ops(attributes, operations) == dnnl_success &&
           /* the default scratchpad belongs to the creating thread */
           dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user) ==
               dnnl_success;
}

static bool describe_matmul(dnnl_primitive_desc_t *desc, layout_view source, layout_view weights,
                            layout_view bias, layout_view destination,
                            const aac_dnnl_epilogue *epilogue)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t operations = NULL;
    bool done = dnnl_primitive_attr_create(&attributes) == dnnl_success &&
                dnnl_post_ops_create(&operations) == dnnl_success &&
                fill_attributes(attributes, operations, epilogue) &&
                matmul_desc(desc, source, weights, bias, destination, attributes) == dnnl_success;
    if (operations)
        dnnl_post_ops_destroy(operations);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    return done;
}

/* Without blocks both orders are equally fast: take that of files, whose rows can then be copied as
 * they are. */
static bool prefer_rows(aac_dnnl_layout *layout, int64_t inputs, int64_t outputs, aac_dtype type)
{
    const aac_dnnl_matrix rows = {inputs, outputs, 1, inputs, type};
    if (!aac_dnnl_layout_is_plain(layout))
        return true;
    aac_dnnl_layout_free(layout);
    return aac_dnnl_layout_plain(layout, &rows);
}

bool aac_dnnl_layout_weights(aac_dnnl_layout *layout, int64_t inputs, int64_t outputs,
                             aac_dtype type)
{
    const int64_t usual_rows = 1370; /* one image at 518 x 518; any row count runs on the result */
    bool integers = type == AAC_I8;
    const aac_dnnl_matrix from = {usual_rows, inputs, inputs, 1, integers ? AAC_U8 : type};
    const aac_dnnl_matrix to = {usual_rows, outputs, outputs, 1, integers ? AAC_I32 : type};
    const dnnl_dims_t dims = {inputs, outputs};
    const aac_dnnl_epilogue none = {0};
    aac_dnnl_layout source = {0}, weights = {0}, destination = {0};
    dnnl_primitive_desc_t desc = NULL;
    bool done =
        aac_dnnl_layout_plain(&source, &from) && aac_dnnl_layout_plain(&destination, &to) &&
        create_any(&weights, 2, dims, native_type(type)) &&
        describe_matmul(&desc, view(&source), view(&weights), NULL, view(&destination), &none) &&
        clone(layout, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0));
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    aac_dnnl_layout_free(&source);
    aac_dnnl_layout_free(&weights);
    aac_dnnl_layout_free(&destination);
    return done && (integers || prefer_rows(layout, inputs, outputs, type));
}

static bool add_argument(dnnl_exec_arg_t *arguments, int *count, int role, layout_view layout,
                         void *data)
{
    arguments[*count].arg = role;
    if (dnnl_memory_create(&arguments[*count].memory, layout, engine, data) != dnnl_success)
        return false;
    ++*count;
    return true;
}

static bool add_scratch(dnnl_exec_arg_t *arguments, int *count, size_t size, void *scratch)
{
    aac_dnnl_layout layout = {0};
    const dnnl_dims_t dims = {(int64_t)size}, strides = {1};
    bool done = create_strided(&layout, 1, dims, dnnl_u8, strides) &&
                add_argument(arguments, count, DNNL_ARG_SCRATCHPAD, view(&layout), scratch);
    aac_dnnl_layout_free(&layout);
    return done;
}

bool aac_dnnl_execute(dnnl_primitive_t primitive, const aac_dnnl_argument *arguments, int count,
                      size_t scratch_size, void *scratch)
{
    dnnl_exec_arg_t native[AAC_DNNL_MAX_ARGUMENTS + 1];
    dnnl_stream_t stream = NULL;
    int used = 0;
    bool done = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success &&
                (!scratch_size || add_scratch(native, &used, scratch_size, scratch));
    for (int i = 0; done && i < count; i++)
        if (arguments[i].layout)
            done = add_argument(native, &used, arguments[i].role, view(arguments[i].layout),
                                (void *)arguments[i].data);
    done = done && dnnl_primitive_execute(primitive, stream, used, native) == dnnl_success &&
           dnnl_stream_wait(stream) == dnnl_success;
    while (used)
        dnnl_memory_destroy(native[--used].memory);
    if (stream)
        dnnl_stream_destroy(stream);
    return done;
}

bool aac_dnnl_matmul(dnnl_primitive_t *primitive, size_t *scratch, const aac_dnnl_layout *source,
                     const aac_dnnl_layout *weights, const aac_dnnl_layout *bias,
                     const aac_dnnl_layout *destination, const aac_dnnl_epilogue *epilogue)
{
    dnnl_primitive_desc_t desc = NULL;
    bool done = describe_matmul(&desc, view(source), view(weights), view(bias), view(destination),
                                epilogue) &&
                dnnl_primitive_create(primitive, desc) == dnnl_success;
    if (done) {
        layout_view scratchpad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
        *scratch = scratchpad ? dnnl_memory_desc_get_size(scratchpad) : 0;
    }
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    return done;
}

bool aac_dnnl_reorder_new(dnnl_primitive_t *primitive, const aac_dnnl_layout *source,
                          const aac_dnnl_layout *destination)
{
    dnnl_primitive_desc_t desc = NULL;
    bool done = dnnl_reorder_primitive_desc_create(&desc, view(source), engine, view(destination),
                                                   engine, NULL) == dnnl_success &&
                dnnl_primitive_create(primitive, desc) == dnnl_success;
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    return done;
}

bool aac_dnnl_reorder_run(dnnl_primitive_t primitive, const aac_dnnl_layout *source,
                          const void *from, const aac_dnnl_layout *destination, void *to)
{
    const aac_dnnl_argument arguments[] = {{DNNL_ARG_FROM, source, from},
                                           {DNNL_ARG_TO, destination, to}};
    return aac_dnnl_execute(primitive, arguments, 2, 0, NULL);
}

bool aac_dnnl_reorder(const aac_dnnl_layout *source, const void *from,
                      const aac_dnnl_layout *destination, void *to)
{
    dnnl_primitive_t primitive = NULL;
    bool done = aac_dnnl_reorder_new(&primitive, source, destination) &&
                aac_dnnl_reorder_run(primitive, source, from, destination, to);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    return done;
}
