/* Matrices of linear layers as panels. */
#include <stdio.h>

#include "backend/simd/linear.h"
#include "backend/simd/stack.h"
#include "core/error.h"
#include "core/memory.h"

/* Outputs, rounded up to whole panels. */
static size_t padded_outputs(const aac_weight *weight)
{
    int64_t columns = aac_block_kernels_get()->columns;
    return (size_t)(aac_simd_divide_up(weight->outputs, columns) * columns);
}

static size_t panel_floats(const aac_weight *weight)
{
    return padded_outputs(weight) * (size_t)weight->inputs;
}

void aac_simd_weight_free(aac_weight *base)
{
    aac_simd_weight *weight = (aac_simd_weight *)base;
    if (!base->adopted) {
        aac_free(weight->panels);
        aac_free(weight->bias);
    }
    aac_free(weight);
}

/* Dense (outputs, inputs) to panels. */
static void fill_panels(const float *rows, int64_t outputs, int64_t inputs, float *panels)
{
    int64_t columns = aac_block_kernels_get()->columns;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < outputs; first += columns) {
        const float *from = rows + first * inputs;
        float *to = panels + first * inputs;
        int64_t count = outputs - first < columns ? outputs - first : columns;
        for (int64_t k = 0; k < inputs; k++, to += columns) {
            for (int64_t j = 0; j < count; j++)
                to[j] = from[j * inputs + k];
            for (int64_t j = count; j < columns; j++)
                to[j] = 0.0f;
        }
    }
}

aaclip_status aac_simd_repack(aac_weight *base, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type)
{
    (void)type;
    aac_simd_weight *weight = (aac_simd_weight *)base;
    float *rows = aac_alloc_array((size_t)(base->outputs * base->inputs), sizeof *rows);
    if (!rows)
        return aac_error_memory();
    aac_stack_rows(parts, part_count, rows);
    fill_panels(rows, base->outputs, base->inputs, weight->panels);
    aac_free(rows);
    if (bias_parts)
        aac_stack_rows(bias_parts, part_count, weight->bias);
    return AACLIP_OK;
}

aaclip_status aac_simd_pack(aac_weight **out, const aac_tensor *parts, const aac_tensor *bias_parts,
                            int part_count, aac_dtype type, int threads)
{
    (void)threads;
    *out = NULL;
    aac_simd_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = (aac_weight){
        .backend = &aac_backend_simd, .inputs = parts[0].shape[1], .bias = bias_parts != NULL};
    for (int i = 0; i < part_count; i++)
        weight->base.outputs += parts[i].shape[0];
    weight->panels = aac_alloc_array(panel_floats(&weight->base), sizeof *weight->panels);
    if (bias_parts)
        weight->bias = aac_calloc(padded_outputs(&weight->base), sizeof *weight->bias);
    aaclip_status status = weight->panels && (weight->bias || !bias_parts)
                               ? aac_simd_repack(&weight->base, parts, bias_parts, part_count, type)
                               : aac_error_memory();
    if (status)
        aac_simd_weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

void aac_simd_weight_image(const aac_weight *base, aac_weight_image *image)
{
    const aac_simd_weight *weight = (const aac_simd_weight *)base;
    snprintf(image->layout, sizeof image->layout, "simd f32 %lldx%lld, panels of %d",
             (long long)base->outputs, (long long)base->inputs, aac_block_kernels_get()->columns);
    image->pieces[0].data = weight->panels;
    image->pieces[0].size = panel_floats(base) * sizeof *weight->panels;
    image->pieces[1].data = weight->bias;
    image->pieces[1].size = padded_outputs(base) * sizeof *weight->bias;
    image->count = base->bias ? 2 : 1;
}

aaclip_status aac_simd_adopt(aac_weight **out, const aac_op_desc *desc,
                             const aac_weight_image *image)
{
    *out = NULL;
    aac_simd_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->base = (aac_weight){.backend = &aac_backend_simd,
                                .inputs = desc->linear.inputs,
                                .outputs = desc->linear.outputs,
                                .bias = desc->linear.bias,
                                .adopted = true};
    aac_weight_image own = {0};
    aac_simd_weight_image(&weight->base, &own);
    if (!aac_weight_image_fits(&own, image)) {
        aac_simd_weight_free(&weight->base);
        return AACLIP_OK;
    }
    weight->panels = (float *)image->pieces[0].data;
    weight->bias = desc->linear.bias ? (float *)image->pieces[1].data : NULL;
    *out = &weight->base;
    return AACLIP_OK;
}
