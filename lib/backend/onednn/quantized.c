/*
 * Linear layers of 8-bit integers. The rows of x are quantised first; then a task is a tile of rows
 * by a panel of outputs: one product within one thread, whose sums become floats, with bias and
 * activation, while they are in cache. (oneDNN 2 has no per-row scales in its epilogue.)
 */
#include <stdio.h>
#include <string.h>

#include "backend/onednn/onednn.h"
#include "backend/simd/quantized.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

#define PANEL     256 /* outputs */
#define TILE_ROWS 192 /* at most */

typedef struct quantized_weight {
    aac_weight base;
    aac_quantized_channels channels;
    aac_dnnl_layout panel, rest; /* rest: the last outputs, fewer than PANEL */
    size_t panel_bytes;
    char *packed; /* one panel after the other */
} quantized_weight;

/* A tile's rows by a panel's outputs. */
typedef struct tile_product {
    aac_dnnl_layout source, weights, sums;
    dnnl_primitive_t primitive;
} tile_product;

typedef struct quantized_plan {
    aac_plan base;
    int64_t tile_rows;
    tile_product products[2][2]; /* [last tile's rows][last panel's outputs] */
    size_t values_bytes, rows_bytes, sums_bytes, buffer_bytes, thread_bytes;
} quantized_plan;

static aaclip_status failure(const char *what, int64_t inputs, int64_t outputs)
{
    return aac_error(AACLIP_ERROR_BACKEND, "oneDNN: cannot %s an int8 linear layer %lldx%lld", what,
                     (long long)outputs, (long long)inputs);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Without VNNI, oneDNN sums two products in 16 bits with saturation. */
static int32_t weight_limit(void)
{
    unsigned vnni = dnnl_cpu_isa_avx512_core_vnni, isa = dnnl_get_effective_cpu_isa();
    return (isa & vnni) == vnni ? AAC_QUANTIZED_LIMIT : AAC_QUANTIZED_COARSE_LIMIT;
}

void aac_onednn_quantized_weight_free(aac_weight *base)
{
    quantized_weight *weight = (quantized_weight *)base;
    aac_dnnl_layout_free(&weight->panel);
    aac_dnnl_layout_free(&weight->rest);
    if (!base->adopted) {
        aac_quantized_channels_clear(&weight->channels);
        aac_free(weight->packed);
    }
    aac_free(weight);
}

static bool describe_panels(quantized_weight *weight)
{
    int64_t inputs = weight->base.inputs, outputs = weight->base.outputs;
    bool described =
        (outputs < PANEL || aac_dnnl_layout_weights(&weight->panel, inputs, PANEL, AAC_I8)) &&
        (outputs % PANEL == 0 ||
         aac_dnnl_layout_weights(&weight->rest, inputs, outputs % PANEL, AAC_I8));
    if (described && outputs >= PANEL)
        weight->panel_bytes = aac_align(aac_dnnl_layout_size(&weight->panel));
    return described;
}

static size_t packed_size(const quantized_weight *weight)
{
    int64_t outputs = weight->base.outputs;
    size_t rest = outputs % PANEL ? aac_dnnl_layout_size(&weight->rest) : 0;
    return (size_t)(outputs / PANEL) * weight->panel_bytes + rest;
}

static bool pack_panel(const quantized_weight *weight, const int8_t *values, int64_t first)
{
    int64_t inputs = weight->base.inputs, count = least(PANEL, weight->base.outputs - first);
    const aac_dnnl_matrix matrix = {inputs, count, 1, inputs, AAC_I8};
    aac_dnnl_layout plain = {0};
    bool packed = aac_dnnl_layout_plain(&plain, &matrix) &&
                  aac_dnnl_reorder(&plain, values + first * inputs,
                                   count == PANEL ? &weight->panel : &weight->rest,
                                   weight->packed + (size_t)(first / PANEL) * weight->panel_bytes);
    aac_dnnl_layout_free(&plain);
    return packed;
}

static aaclip_status pack_panels(quantized_weight *weight, const int8_t *values)
{
    int64_t inputs = weight->base.inputs, outputs = weight->base.outputs;
    if (!describe_panels(weight))
        return failure("describe", inputs, outputs);
    weight->packed = aac_alloc(packed_size(weight));
    if (!weight->packed)
        return aac_error_memory();
    for (int64_t first = 0; first < outputs; first += PANEL)
        if (!pack_panel(weight, values, first))
            return failure("pack", inputs, outputs);
    return AACLIP_OK;
}

aaclip_status aac_onednn_pack_quantized(aac_weight **out, const aac_tensor *parts,
                                        const aac_tensor *bias_parts, int part_count)
{
    *out = NULL;
    quantized_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = aac_quantized_packed(&aac_backend_onednn, parts, bias_parts, part_count);
    int8_t *values;
    aaclip_status status = aac_quantize_matrix(&weight->channels, &values, parts, bias_parts,
                                               part_count, weight_limit());
    if (!status) {
        aac_team team = aac_threads_set(1); /* a layout for products within one thread */
        status = pack_panels(weight, values);
        aac_threads_restore(team);
    }
    aac_free(values);
    if (status)
        aac_onednn_quantized_weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

/* The panels' layout, then that of the remainder; either may be absent. */
static bool layout_text(const quantized_weight *weight, char *text, size_t size)
{
    int64_t outputs = weight->base.outputs;
    int used = snprintf(text, size, "limit %d panel %d ", weight_limit(), PANEL);
    text += used, size -= (size_t)used;
    if (outputs >= PANEL && !aac_dnnl_layout_text(&weight->panel, text, size))
        return false;
    size -= strlen(text), text += strlen(text);
    return outputs % PANEL == 0 || aac_dnnl_layout_text(&weight->rest, text, size);
}

void aac_onednn_quantized_image(const aac_weight *base, aac_weight_image *image)
{
    const quantized_weight *weight = (const quantized_weight *)base;
    if (!layout_text(weight, image->layout, sizeof image->layout))
        return;
    image->pieces[0].data = weight->packed;
    image->pieces[0].size = packed_size(weight);
    image->count = 1 + aac_quantized_image(&weight->channels, base, 1, image);
}

aaclip_status aac_onednn_adopt_quantized(aac_weight **out, const aac_op_desc *desc,
                                         const aac_weight_image *image)
{
    *out = NULL;
    quantized_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = aac_quantized_adopted(&aac_backend_onednn, desc);
    aac_weight_image own = {0};
    aac_team team = aac_threads_set(1);
    bool described = describe_panels(weight);
    aac_threads_restore(team);
    if (described)
        aac_onednn_quantized_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image) ||
        !aac_quantized_channels_adopt(&weight->channels, &weight->base, 1, image)) {
        aac_onednn_quantized_weight_free(&weight->base);
        return AACLIP_OK;
    }
    weight->packed = (char *)image->pieces[0].data;
    *out = &weight->base;
    return AACLIP_OK;
}

/* Where a task reads and writes. */
typedef struct output_tile {
    int64_t row, rows, output, outputs;
    const tile_product *product;
    const void *weights;
} output_tile;

static output_tile find_tile(const quantized_plan *plan, const quantized_weight *weight,
                             int64_t task)
{
    int64_t rows = plan->base.desc.linear.rows, outputs = plan->base.desc.linear.outputs;
    int64_t panels = (outputs + PANEL - 1) / PANEL;
    output_tile found = {.row = task / panels * plan->tile_rows, .output = task % panels * PANEL};
    found.rows = least(plan->tile_rows, rows - found.row);
    found.outputs = least(PANEL, outputs - found.output);
    found.product = &plan->products[found.rows < plan->tile_rows][found.outputs < PANEL];
    found.weights = weight->packed + (size_t)(task % panels) * weight->panel_bytes;
    return found;
}

static bool run_tile(const quantized_plan *plan, const quantized_weight *weight,
                     const output_tile *tile, char *scratch, void *y)
{
    const aac_op_desc *desc = &plan->base.desc;
    const float *steps = (const float *)(scratch + plan->values_bytes);
    const int32_t *zeros = (const int32_t *)(scratch + plan->values_bytes + plan->rows_bytes);
    char *own = scratch + plan->values_bytes + 2 * plan->rows_bytes +
                (size_t)aac_threads_index() * plan->thread_bytes;
    int32_t *sums = (int32_t *)(own + plan->buffer_bytes);
    const tile_product *product = tile->product;
    const aac_dnnl_argument arguments[] = {
        {DNNL_ARG_SRC, &product->source, scratch + tile->row * desc->linear.inputs},
        {DNNL_ARG_WEIGHTS, &product->weights, tile->weights},
        {DNNL_ARG_DST, &product->sums, sums}};
    size_t rest = plan->thread_bytes - plan->buffer_bytes - plan->sums_bytes;
    if (!aac_dnnl_execute(product->primitive, arguments, 3, rest, (char *)sums + plan->sums_bytes))
        return false;
    int64_t element = (int64_t)aac_dtype_size(desc->linear.y);
    for (int64_t i = 0; i < tile->rows; i++) {
        int64_t row = tile->row + i;
        aac_quantized_sums found = {
            .values = sums + i * tile->outputs, .step = steps[row], .zero = zeros[row]};
        aac_quantized_finish(desc, &weight->channels, tile->output, tile->outputs, &found,
                             (char *)y + (row * desc->linear.outputs + tile->output) * element,
                             (float *)own);
    }
    return true;
}

static aaclip_status run_quantized(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const quantized_plan *plan = (const quantized_plan *)base;
    const quantized_weight *weight = (const quantized_weight *)args->weight;
    int64_t tiles = (base->desc.linear.rows + plan->tile_rows - 1) / plan->tile_rows;
    int64_t panels = (base->desc.linear.outputs + PANEL - 1) / PANEL;
    int failures = 0;
    char *zeros = (char *)scratch + plan->values_bytes + plan->rows_bytes;
    const aac_quantized_rows rows = {
        .values = scratch,
        .stride = base->desc.linear.inputs,
        .steps = (float *)((char *)scratch + plan->values_bytes),
        .zeros = (int32_t *)zeros,
    };
    aac_quantize_rows(&base->desc, args->x, &rows, zeros + plan->rows_bytes, plan->thread_bytes);
#pragma omp parallel for schedule(dynamic) reduction(+ : failures)
    for (int64_t task = 0; task < tiles * panels; task++) {
        const output_tile found = find_tile(plan, weight, task);
        failures += !run_tile(plan, weight, &found, scratch, args->y);
    }
    return failures ? failure("run", base->desc.linear.inputs, base->desc.linear.outputs)
                    : AACLIP_OK;
}

static bool make_product(tile_product *product, int64_t rows, int64_t inputs, int64_t outputs,
                         size_t *scratch)
{
    const aac_dnnl_matrix source = {rows, inputs, inputs, 1, AAC_U8},
                          sums = {rows, outputs, outputs, 1, AAC_I32};
    const aac_dnnl_epilogue none = {0};
    size_t own = 0;
    if (!rows || !outputs)
        return true;
    bool made = aac_dnnl_layout_plain(&product->source, &source) &&
                aac_dnnl_layout_weights(&product->weights, inputs, outputs, AAC_I8) &&
                aac_dnnl_layout_plain(&product->sums, &sums) &&
                aac_dnnl_matmul(&product->primitive, &own, &product->source, &product->weights,
                                NULL, &product->sums, &none);
    *scratch = own > *scratch ? own : *scratch;
    return made;
}

static bool make_products(quantized_plan *plan, size_t *scratch)
{
    const aac_op_desc *desc = &plan->base.desc;
    int64_t rows[] = {plan->tile_rows, desc->linear.rows % plan->tile_rows};
    int64_t outputs[] = {desc->linear.outputs < PANEL ? 0 : PANEL, desc->linear.outputs % PANEL};
    aac_team team = aac_threads_set(1); /* each tile runs within one thread */
    bool made = true;
    for (int i = 0; made && i < 4; i++)
        made = make_product(&plan->products[i / 2][i % 2], rows[i / 2], desc->linear.inputs,
                            outputs[i % 2], scratch);
    aac_threads_restore(team);
    return made;
}

/* Tiles of about equal height. */
static int64_t height_of_tiles(int64_t rows)
{
    const int64_t step = 16;
    int64_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, height = (rows + tiles - 1) / tiles;
    return least(rows, (height + step - 1) / step * step);
}

static void size_scratch(quantized_plan *plan, size_t product)
{
    const aac_op_desc *desc = &plan->base.desc;
    size_t rows = (size_t)desc->linear.rows, inputs = (size_t)desc->linear.inputs;
    size_t panel = (size_t)least(PANEL, desc->linear.outputs);
    plan->values_bytes = aac_align(rows * inputs);
    plan->rows_bytes = aac_align(rows * sizeof(float));
    plan->sums_bytes = aac_align((size_t)plan->tile_rows * panel * sizeof(int32_t));
    plan->buffer_bytes = aac_align((inputs > panel ? inputs : panel) * sizeof(float));
    plan->thread_bytes = plan->buffer_bytes + plan->sums_bytes + aac_align(product);
    plan->base.scratch =
        plan->values_bytes + 2 * plan->rows_bytes + plan->thread_bytes * (size_t)plan->base.threads;
}

aaclip_status aac_onednn_plan_quantized(aac_plan **out, const aac_op_desc *desc, int threads)
{
    *out = NULL;
    quantized_plan *plan = aac_calloc(1, sizeof *plan);
    if (!plan)
        return aac_error_memory();
    plan->base = (aac_plan){
        .backend = &aac_backend_onednn, .desc = *desc, .threads = threads, .run = run_quantized};
    plan->tile_rows = height_of_tiles(desc->linear.rows);
    size_t scratch = 0;
    if (!make_products(plan, &scratch)) {
        aac_onednn_free_quantized(&plan->base);
        return failure("plan", desc->linear.inputs, desc->linear.outputs);
    }
    size_scratch(plan, scratch);
    *out = &plan->base;
    return AACLIP_OK;
}

void aac_onednn_free_quantized(aac_plan *base)
{
    quantized_plan *plan = (quantized_plan *)base;
    for (int i = 0; i < 4; i++) {
        tile_product *product = &plan->products[i / 2][i % 2];
        if (product->primitive)
            dnnl_primitive_destroy(product->primitive);
        aac_dnnl_layout_free(&product->source);
        aac_dnnl_layout_free(&product->weights);
        aac_dnnl_layout_free(&product->sums);
    }
    aac_free(plan);
}
