/* Which backend runs what: the chain behind a chosen backend, plan and pack. */
#include <string.h>

#include <aaclip/backend.h>

#include "backend/backend.h"
#include "backend/profiler.h"
#include "backend/registry.h"
#include "backend/work.h"
#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"

const char *aaclip_precision_name(aaclip_precision precision)
{
    static const char *const names[] = {"f32", "bf16", "auto", "int8", "tf32", "f16"};
    return (unsigned)precision < sizeof names / sizeof *names ? names[precision] : "unknown";
}

aaclip_status aac_dispatch_open(aac_dispatch *dispatch, const char *name, int threads)
{
    *dispatch = (aac_dispatch){.threads = threads, .forks = aac_forks()};
    const aac_backend *chosen = NULL;
    aaclip_status status = aac_backend_find(&chosen, &dispatch->device, name);
    if (status)
        return status;
    dispatch->chain[dispatch->chain_length++] = chosen;
    if (chosen == &aac_backend_reference || chosen->memory) /* no other reaches its memory */
        return AACLIP_OK;
    if (chosen != &aac_backend_simd)
        dispatch->chain[dispatch->chain_length++] = &aac_backend_simd;
    dispatch->chain[dispatch->chain_length++] = &aac_backend_reference;
    return AACLIP_OK;
}

aaclip_status aac_backend_check_process(const aac_backend *backend, unsigned forks)
{
    if (!backend->devices || forks == aac_forks())
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_BACKEND,
                     "backend '%s': the device belongs to the process that this one was forked "
                     "from; fork before opening the model",
                     backend->name);
}

aaclip_status aac_dispatch_check_process(const aac_dispatch *dispatch)
{
    return aac_backend_check_process(dispatch->chain[0], dispatch->forks);
}

int aac_dispatch_enter(const aac_dispatch *dispatch)
{
    const aac_backend_devices *devices = dispatch->chain[0]->devices;
    return devices ? devices->enter(dispatch->device) : 0;
}

void aac_dispatch_leave(const aac_dispatch *dispatch, int previous)
{
    if (dispatch->chain[0]->devices)
        dispatch->chain[0]->devices->enter(previous);
}

const aac_backend *aac_dispatch_choose(const aac_dispatch *dispatch, const aac_op_desc *desc)
{
    int i = 0;
    while (i < dispatch->chain_length - 1 && !dispatch->chain[i]->supports(desc))
        i++;
    return dispatch->chain[i];
}

/* The backend for `desc`; UNSUPPORTED if one with memory of its own lacks it. */
static aaclip_status find(const aac_dispatch *dispatch, const aac_op_desc *desc,
                          const aac_backend **found)
{
    *found = aac_dispatch_choose(dispatch, desc);
    if (!(*found)->memory || (*found)->supports(desc))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "backend '%s': does not support %s of this size or type, and no other backend "
                     "can access its memory",
                     (*found)->name, aac_op_name(desc->op));
}

static bool is_attention(const aac_op_desc *desc)
{
    return desc->op == AAC_OP_ATTENTION || desc->op == AAC_OP_ATTENTION_BACKWARD;
}

static aac_op_desc with_tensor_float(const aac_dispatch *dispatch, const aac_op_desc *wanted)
{
    aac_op_desc desc = *wanted;
    if (desc.op == AAC_OP_LINEAR && desc.linear.x == AAC_F32)
        desc.tensor_float = dispatch->tensor_float;
    if (desc.op == AAC_OP_LINEAR_GRADIENT && desc.linear_gradient.type == AAC_F32)
        desc.tensor_float = dispatch->tensor_float;
    return desc;
}

/* After aac_threads_set. */
static aaclip_status check_team(const aac_backend *backend, int threads)
{
    const int granted = aac_threads_granted();
    if (!backend->whole_teams || granted >= threads)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_BACKEND,
                     "%s: needs %d threads, the system allows %d (limits of processes, tasks or "
                     "memory); aaclip_model_options.threads sets the number",
                     backend->name, threads, granted);
}

/*
 * Small work runs on one thread: threads wait for each other by spinning, which costs as much as a
 * few microseconds of shared work save, and a thousand times more when other programs keep the
 * processors busy. A matrix product must run with the number of threads it was planned for; for
 * attention, the number of sequences is known only when it runs.
 */
aaclip_status aac_dispatch_plan(const aac_dispatch *dispatch, aac_plan **plan,
                                const aac_op_desc *wanted)
{
    const aac_backend *backend;
    const aac_op_desc own = with_tensor_float(dispatch, wanted), *desc = &own;
    bool alone = !is_attention(desc) && aac_op_is_small(desc, 1);
    int threads = alone ? 1 : dispatch->threads;
    aaclip_status status = aac_cancel_look();
    if (!status)
        status = find(dispatch, desc, &backend);
    if (!status)
        status = aac_backend_check_process(backend, dispatch->forks);
    if (status)
        return status;
    aac_team previous = aac_threads_set(threads);
    int device = aac_dispatch_enter(dispatch);
    status = check_team(backend, threads);
    if (!status)
        status = backend->plan(plan, desc, threads);
    if (!status) {
        (*plan)->device = dispatch->device;
        (*plan)->forks = dispatch->forks;
    }
    aac_dispatch_leave(dispatch, device);
    aac_threads_restore(previous);
    return status;
}

static aaclip_status pack_with(const aac_backend *backend, aac_weight **weight,
                               const aac_tensor *parts, const aac_tensor *bias_parts,
                               int part_count, aac_dtype type, int threads)
{
    if (*weight && !(*weight)->adopted && backend->repack && type != AAC_I8)
        return backend->repack(*weight, parts, bias_parts, part_count, type);
    aac_weight_free(weight);
    return backend->pack(weight, parts, bias_parts, part_count, type, threads);
}

aac_op_desc aac_dispatch_describe(const aac_tensor *parts, const aac_tensor *bias_parts,
                                  int part_count, aac_dtype type)
{
    bool quantized = type == AAC_I8;
    aac_op_desc desc = {.op = AAC_OP_LINEAR,
                        .linear = {.rows = 1,
                                   .inputs = parts[0].shape[1],
                                   .x = quantized ? AAC_F32 : type,
                                   .y = quantized ? AAC_F32 : type,
                                   .bias = bias_parts != NULL,
                                   .quantized = quantized}};
    for (int i = 0; i < part_count; i++)
        desc.linear.outputs += parts[i].shape[0];
    return desc;
}

aaclip_status aac_dispatch_pack(const aac_dispatch *dispatch, aac_weight **weight,
                                const aac_tensor *parts, const aac_tensor *bias_parts,
                                int part_count, aac_dtype type)
{
    *weight = NULL;
    return aac_dispatch_repack(dispatch, weight, parts, bias_parts, part_count, type);
}

aaclip_status aac_dispatch_repack(const aac_dispatch *dispatch, aac_weight **weight,
                                  const aac_tensor *parts, const aac_tensor *bias_parts,
                                  int part_count, aac_dtype type)
{
    const aac_op_desc desc = aac_dispatch_describe(parts, bias_parts, part_count, type);
    const aac_backend *backend;
    int threads = aac_op_packing_threads(&desc, dispatch->threads);
    aaclip_status status = aac_cancel_look();
    if (!status)
        status = find(dispatch, &desc, &backend);
    if (!status)
        status = aac_backend_check_process(backend, dispatch->forks);
    if (status)
        return status;
    aac_team previous = aac_threads_set(threads);
    int device = aac_dispatch_enter(dispatch);
    status = check_team(backend, threads);
    if (!status)
        status = pack_with(backend, weight, parts, bias_parts, part_count, type, threads);
    aac_dispatch_leave(dispatch, device);
    aac_threads_restore(previous);
    return status;
}

aaclip_status aac_dispatch_adopt(const aac_dispatch *dispatch, aac_weight **weight,
                                 const aac_op_desc *desc, const aac_weight_image *image)
{
    const aac_backend *backend = aac_dispatch_choose(dispatch, desc);
    *weight = NULL;
    if (!backend->adopt)
        return AACLIP_OK;
    /* oneDNN's choice of layout depends on the number of threads */
    const int threads = aac_op_packing_threads(desc, dispatch->threads);
    aac_team previous = aac_threads_set(threads);
    aaclip_status status = check_team(backend, threads);
    if (!status)
        status = backend->adopt(weight, desc, image);
    aac_threads_restore(previous);
    return status;
}

bool aac_weight_get_image(const aac_weight *weight, aac_weight_image *image)
{
    *image = (aac_weight_image){0};
    if (weight->backend->weight_image)
        weight->backend->weight_image(weight, image);
    return image->count > 0;
}

bool aac_weight_image_fits(const aac_weight_image *own, const aac_weight_image *found)
{
    bool fits =
        own->count > 0 && found->count == own->count && strcmp(own->layout, found->layout) == 0;
    for (int i = 0; fits && i < own->count; i++)
        fits = found->pieces[i].size >= own->pieces[i].size &&
               found->pieces[i].size - own->pieces[i].size < AAC_ALIGNMENT &&
               (uintptr_t)found->pieces[i].data % AAC_ALIGNMENT == 0;
    return fits;
}

void aac_plan_free(aac_plan **plan)
{
    if (*plan)
        (*plan)->backend->plan_free(*plan);
    *plan = NULL;
}

void aac_weight_free(aac_weight **weight)
{
    if (*weight)
        (*weight)->backend->weight_free(*weight);
    *weight = NULL;
}

size_t aac_largest_scratch(const aac_plan *const *plans, size_t count)
{
    size_t largest = 0;
    for (size_t i = 0; i < count; i++)
        if (plans[i] && plans[i]->scratch > largest)
            largest = plans[i]->scratch;
    return largest;
}

aaclip_status aac_run(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    aaclip_status status = aac_cancel_look();
    if (!status)
        status = aac_backend_check_process(plan->backend, plan->forks);
    if (status)
        return status;
    bool alone = is_attention(&plan->desc) && aac_op_is_small(&plan->desc, args->sequences);
    const aac_backend_devices *devices = plan->backend->devices;
    const int threads = alone ? 1 : plan->threads;
    aac_team previous = aac_threads_set(threads);
    int device = devices ? devices->enter(plan->device) : 0;
    status = check_team(plan->backend, threads);
    if (!status)
        status = aac_profiler_run(plan, args, scratch);
    if (devices)
        devices->enter(device);
    aac_threads_restore(previous);
    return status;
}
