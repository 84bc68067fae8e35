#include "roofline.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* Yardsticks exist only for the processor. */
static bool applies(const char *backend)
{
    return !backend || strncmp(backend, "cuda", 4) != 0;
}

double roofline_copy_gbs(const char *backend, int threads)
{
    enum { COPIES = 5 };
    if (!applies(backend))
        return 0;
    const size_t count = (size_t)1 << 24, bytes = count * sizeof(float);
    float *from = calloc(count, sizeof *from), *to = calloc(count, sizeof *to);
    double best = 0;
    for (int i = 0; from && to && i <= COPIES; i++) {
        double now = seconds_now();
#pragma omp parallel for num_threads(threads)
        for (size_t j = 0; j < count; j++)
            to[j] = from[j] + (float)i;
        double speed = 2e-9 * (double)bytes / (seconds_now() - now);
        best = i > 0 && speed > best ? speed : best; /* the first run touches the memory */
    }
    free(from);
    free(to);
    return best;
}

void roofline_report_copy(report *run, const char *backend, int threads)
{
    double speed = roofline_copy_gbs(backend, threads);
    if (speed > 0)
        report_value(run, "copy_gbs", "GB/s", "", speed);
}

void roofline_report(report *run, double product_gflops, double reached_gflops)
{
    report_value(run, "gflops", "GFLOP/s", "more", reached_gflops);
    if (product_gflops <= 0)
        return;
    report_value(run, "product_gflops", "GFLOP/s", "", product_gflops);
    report_value(run, "fraction_of_roofline", "", "more", reached_gflops / product_gflops);
}

#ifdef AAC_HAVE_ONEDNN

/* Not the library, only a few lines that hide the installed version of oneDNN. */
#include "backend/onednn/shim.h"

enum { ROWS = 1370, INPUTS = 1024, OUTPUTS = 4096, PRODUCTS = 8 };

struct roofline {
    int threads;
    aac_dnnl_layout source, weights, destination;
    dnnl_primitive_t primitive;
    size_t scratch_size;
    void *x, *w, *y, *scratch;
};

static void *touched(size_t bytes)
{
    const size_t alignment = 64;
    size_t size = (bytes / alignment + 1) * alignment;
    void *memory = aligned_alloc(alignment, size);
    return memory ? memset(memory, 0, size) : NULL;
}

/* Types of the left matrix, the right one and the product. */
typedef struct product_types {
    aac_dtype source, weights, destination;
} product_types;

static product_types types_of(aaclip_precision precision)
{
    if (precision == AACLIP_PRECISION_INT8)
        return (product_types){AAC_U8, AAC_I8, AAC_I32};
    if (precision == AACLIP_PRECISION_BF16)
        return (product_types){AAC_BF16, AAC_BF16, AAC_BF16};
    return (product_types){AAC_F32, AAC_F32, AAC_F32};
}

static bool describe(roofline *made, product_types types)
{
    const aac_dnnl_matrix source = {ROWS, INPUTS, INPUTS, 1, types.source};
    const aac_dnnl_matrix destination = {ROWS, OUTPUTS, OUTPUTS, 1, types.destination};
    const aac_dnnl_epilogue none = {0};
    return aac_dnnl_layout_plain(&made->source, &source) &&
           aac_dnnl_layout_plain(&made->destination, &destination) &&
           aac_dnnl_layout_weights(&made->weights, INPUTS, OUTPUTS, types.weights) &&
           aac_dnnl_matmul(&made->primitive, &made->scratch_size, &made->source, &made->weights,
                           NULL, &made->destination, &none);
}

roofline *roofline_new(const char *backend, aaclip_precision precision, int threads)
{
    if (!applies(backend))
        return NULL;
    roofline *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->threads = threads;
    omp_set_num_threads(threads);
    if (describe(made, types_of(precision))) {
        made->x = touched(aac_dnnl_layout_size(&made->source));
        made->w = touched(aac_dnnl_layout_size(&made->weights));
        made->y = touched(aac_dnnl_layout_size(&made->destination));
        made->scratch = touched(made->scratch_size);
    }
    if (made->x && made->w && made->y && made->scratch)
        return made;
    roofline_free(made);
    return NULL;
}

double roofline_gflops(const roofline *bare)
{
    if (!bare)
        return 0;
    const aac_dnnl_argument arguments[] = {{DNNL_ARG_SRC, &bare->source, bare->x},
                                           {DNNL_ARG_WEIGHTS, &bare->weights, bare->w},
                                           {DNNL_ARG_DST, &bare->destination, bare->y}};
    double best = 0, work = 2e-9 * ROWS * INPUTS * OUTPUTS;
    omp_set_num_threads(bare->threads);
    for (int i = 0; i < PRODUCTS; i++) {
        double now = seconds_now();
        if (!aac_dnnl_execute(bare->primitive, arguments, 3, bare->scratch_size, bare->scratch))
            return 0;
        double speed = work / (seconds_now() - now);
        best = speed > best ? speed : best;
    }
    return best;
}

void roofline_free(roofline *bare)
{
    if (!bare)
        return;
    if (bare->primitive)
        dnnl_primitive_destroy(bare->primitive);
    aac_dnnl_layout_free(&bare->source);
    aac_dnnl_layout_free(&bare->weights);
    aac_dnnl_layout_free(&bare->destination);
    free(bare->x);
    free(bare->w);
    free(bare->y);
    free(bare->scratch);
    free(bare);
}

#else

roofline *roofline_new(const char *backend, aaclip_precision precision, int threads)
{
    if (!applies(backend))
        return NULL;
    (void)precision, (void)threads;
    return NULL;
}

double roofline_gflops(const roofline *bare)
{
    (void)bare;
    return 0;
}

void roofline_free(roofline *bare)
{
    (void)bare;
}

#endif
