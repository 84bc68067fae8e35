/*
 * A backend with memory of its own, for tests on machines without such a device: linked into a
 * test, it replaces all backends of the build before main begins.
 *
 * Its memory has inaccessible addresses: the host faults at the line that uses one. The contents
 * are stored elsewhere; each operation finds them by address, and ends the test if it is given host
 * memory. The operations themselves are those of another backend.
 *
 * It has two devices, and a third that cannot be used. Memory, weights and plans belong to the
 * device that the thread had entered when they were created; the test ends if they are used with
 * the other one.
 *
 * It does everything optional: residuals are added from elsewhere, gradients left rounded.
 *
 * A weight is a copy of the tensors it was packed from, as on a device: it does not change with
 * them. It has no image that could be saved. Device memory is repacked into an existing weight.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/account.h"
#include "backend/backend.h"
#include "core/error.h"
#include "core/memory.h"
#include "guarded_backend.h"

typedef struct block {
    struct block *next;
    char *address; /* as the host sees it: inaccessible */
    size_t bytes, mapped;
    char *contents;
    int device;
} block;

typedef struct guarded_plan {
    aac_plan base;
    aac_plan *inner;
    int device;
} guarded_plan;

typedef struct guarded_weight {
    aac_weight base;
    aac_weight *inner;
    float *matrix, *bias; /* it was packed from these, which may be read in place */
    int device;
} guarded_weight;

static aac_dispatch inner; /* does the computing */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static _Thread_local int current;

int guarded_device(void)
{
    return current;
}

static int count_devices(void)
{
    return 3;
}

static aaclip_status check_device(int device)
{
    return device < 2 ? AACLIP_OK
                      : aac_error(AACLIP_ERROR_UNSUPPORTED, "guarded backend: device %d is too old",
                                  device);
}

static int enter_device(int device)
{
    int previous = current;
    current = device;
    return previous;
}

static const aac_backend_devices devices = {count_devices, enter_device, check_device};

static block *find(const void *address)
{
    const char *at = address;
    pthread_mutex_lock(&mutex);
    block *found = blocks;
    while (found && !(at >= found->address && at < found->address + found->mapped))
        found = found->next;
    pthread_mutex_unlock(&mutex);
    return found;
}

static void give_up(const char *what, const char *where)
{
    fprintf(stderr, "guarded backend: %s: %s\n", where, what);
    abort();
}

static void *make_block(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    block *made = aac_alloc(sizeof *made);
    char *contents = made ? aac_alloc(bytes) : NULL;
    size_t mapped = (bytes / page + 1) * page;
    char *address =
        contents ? mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (address == MAP_FAILED) {
        aac_free(contents);
        aac_free(made);
        return NULL;
    }
    memset(contents, 0xff, bytes); /* reads before the first write give NaN */
    *made = (block){.address = address,
                    .bytes = bytes,
                    .mapped = mapped,
                    .contents = contents,
                    .device = current};
    pthread_mutex_lock(&mutex);
    made->next = blocks;
    blocks = made;
    pthread_mutex_unlock(&mutex);
    return address;
}

static void free_block(void *memory)
{
    pthread_mutex_lock(&mutex);
    block **link = &blocks;
    while (*link && (*link)->address != (char *)memory)
        link = &(*link)->next;
    block *found = *link;
    if (found)
        *link = found->next;
    pthread_mutex_unlock(&mutex);
    if (!found)
        give_up("no memory of this backend", "release");
    munmap(found->address, found->mapped);
    aac_free(found->contents);
    aac_free(found);
}

static void *allocate(size_t bytes)
{
    return aac_account_allocate(current, bytes, make_block);
}

static void release(void *memory)
{
    aac_account_release(memory, free_block);
}

/* The bytes that `address` stands for; NULL if it is host memory. */
static void *contents_of(const void *address, size_t bytes, const char *where)
{
    const block *found = find(address);
    if (!found)
        return NULL;
    size_t offset = (size_t)((const char *)address - found->address);
    if (offset + bytes > found->bytes)
        give_up("goes beyond its memory", where);
    if (found->device != current)
        give_up("memory of another device", where);
    return found->contents + offset;
}

/* A step of a recording: a run, or a copy within the memory, or a clear. */
typedef struct recorded_step {
    const aac_plan *plan; /* NULL: a copy or clear */
    aac_op_args args;
    void *scratch, *to;
    const void *from; /* NULL: clear */
    size_t bytes;
} recorded_step;

typedef struct recording {
    recorded_step steps[1024];
    size_t count;
} recording;

static _Thread_local recording *written; /* the one being made */

static aaclip_status write_down(recorded_step what)
{
    if (written->count == sizeof written->steps / sizeof *written->steps)
        give_up("too many steps", "recording");
    written->steps[written->count++] = what;
    return AACLIP_OK;
}

static aaclip_status copy(void *to, const void *from, size_t bytes)
{
    char *target = contents_of(to, bytes, "copy");
    const char *source = contents_of(from, bytes, "copy");
    if (written && !(target && source))
        give_up("copies from or to the host", "recording");
    if (written)
        return write_down((recorded_step){.to = to, .from = from, .bytes = bytes});
    if (!target && !source)
        give_up("both sides are memory of the host", "copy");
    memmove(target ? target : to, source ? source : from, bytes);
    return AACLIP_OK;
}

static aaclip_status clear(void *memory, size_t bytes)
{
    char *contents = contents_of(memory, bytes, "clear");
    if (!contents)
        give_up("memory of the host", "clear");
    if (written)
        return write_down((recorded_step){.to = memory, .bytes = bytes});
    memset(contents, 0, bytes);
    return AACLIP_OK;
}

static const aac_backend_memory memory_calls = {
    .allocate = allocate, .release = release, .copy = copy, .clear = clear};

static void *translate(const void *address, const aac_plan *plan)
{
    void *contents = address ? contents_of(address, 0, aac_op_name(plan->desc.op)) : NULL;
    if (address && !contents)
        give_up("was given memory of the host", aac_op_name(plan->desc.op));
    return contents;
}

static const aac_backend guarded;

static const aac_weight *weight_of(const aac_weight *base)
{
    const guarded_weight *weight = (const guarded_weight *)base;
    if (base->backend != &guarded)
        give_up("was given a weight of another backend", "linear");
    if (weight->device != current)
        give_up("was given a weight of another device", "linear");
    return weight->inner;
}

/* y also in the type given in the description. */
static void round_values(const aac_op_desc *desc, const float *y, void *rounded)
{
    for (int64_t i = 0; i < desc->layer_norm.rows * desc->layer_norm.columns; i++)
        if (desc->layer_norm.y == AAC_BF16)
            ((uint16_t *)rounded)[i] = aac_f32_to_bf16(y[i]);
        else
            ((float *)rounded)[i] = y[i];
}

static aaclip_status compute(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    const aac_op_desc *desc = &plan->desc;
    if (args->added && args->added != args->y)
        memcpy(args->y, args->added,
               (size_t)(desc->linear.rows * desc->linear.outputs) * sizeof(float));
    aaclip_status status = plan->run(plan, args, scratch);
    if (!status && args->rounded)
        round_values(desc, args->y, args->rounded);
    return status;
}

static aaclip_status run(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_plan *plan = ((const guarded_plan *)base)->inner;
    aac_op_args own = *args;
    if (((const guarded_plan *)base)->device != current)
        give_up("planned for another device", aac_op_name(plan->desc.op));
    if (written)
        return write_down((recorded_step){.plan = base, .args = *args, .scratch = scratch});
    own.x = translate(args->x, plan);
    own.y = translate(args->y, plan);
    own.gain = translate(args->gain, plan);
    own.bias = translate(args->bias, plan);
    own.a = translate(args->a, plan);
    own.offsets = translate(args->offsets, plan);
    own.parents = translate(args->parents, plan);
    own.index = translate(args->index, plan);
    own.dy = translate(args->dy, plan);
    own.out = translate(args->out, plan);
    own.da = translate(args->da, plan);
    own.mask = translate(args->mask, plan);
    own.losses = translate(args->losses, plan);
    own.added = base->adds_elsewhere ? translate(args->added, plan) : NULL;
    own.rounded = translate(args->rounded, plan);
    if (plan->desc.op == AAC_OP_LINEAR)
        own.weight = weight_of(args->weight);
    aac_adam_step step;
    if (plan->desc.op == AAC_OP_ADAM) {
        step = *args->adam;
        step.first_moment = translate(step.first_moment, plan);
        step.second_moment = translate(step.second_moment, plan);
        own.adam = &step;
    }
    return compute(plan, &own, plan->scratch ? translate(scratch, plan) : NULL);
}

static unsigned played;

unsigned guarded_plays(void)
{
    return played;
}

static aaclip_status begin_recording(void)
{
    written = aac_calloc(1, sizeof *written);
    return written ? AACLIP_OK : aac_error_memory();
}

static aaclip_status end_recording(void **made)
{
    *made = written;
    written = NULL;
    return AACLIP_OK;
}

static aaclip_status play(void *made)
{
    const recording *all = made;
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < all->count; i++) {
        const recorded_step *next = &all->steps[i];
        if (next->plan)
            status = aac_run(next->plan, &next->args, next->scratch);
        else
            status =
                next->from ? copy(next->to, next->from, next->bytes) : clear(next->to, next->bytes);
    }
    played++;
    return status;
}

static const aac_backend_recorder recorder = {begin_recording, end_recording, play, aac_free};

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    return desc->op < AAC_OP_COUNT;
}

/* A weight packed for integers is run with rows of either type; only `reference` has both. */
static const aac_backend *computes(const aac_op_desc *desc)
{
    bool integers = desc->op == AAC_OP_LINEAR && desc->linear.quantized;
    return integers ? &aac_backend_reference : aac_dispatch_choose(&inner, desc);
}

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    guarded_plan *made = aac_calloc(1, sizeof *made);
    *out = NULL;
    if (!made)
        return aac_error_memory();
    aaclip_status status = computes(desc)->plan(&made->inner, desc, threads);
    if (status) {
        aac_free(made);
        return status;
    }
    made->device = current;
    made->base = (aac_plan){.backend = &guarded,
                            .desc = *desc,
                            .scratch = made->inner->scratch,
                            .threads = made->inner->threads,
                            .adds_elsewhere = desc->op == AAC_OP_LINEAR && desc->linear.accumulate,
                            .rounds = desc->op == AAC_OP_LAYER_NORM_BACKWARD,
                            .run = run};
    *out = &made->base;
    return AACLIP_OK;
}

static void plan_free(aac_plan *base)
{
    aac_plan_free(&((guarded_plan *)base)->inner);
    aac_free(base);
}

static void weight_free(aac_weight *base)
{
    guarded_weight *weight = (guarded_weight *)base;
    aac_weight_free(&weight->inner);
    aac_free(weight->matrix);
    aac_free(weight->bias);
    aac_free(weight);
}

/* The parts as one float32 tensor. */
static aaclip_status stack(aac_tensor *whole, float **copy, const aac_tensor *parts, int part_count)
{
    int64_t rows = 0, columns = parts[0].rank == 2 ? parts[0].shape[1] : 1;
    for (int i = 0; i < part_count; i++)
        rows += parts[i].shape[0];
    *copy = aac_alloc_array((size_t)(rows * columns), sizeof **copy);
    if (!*copy)
        return aac_error_memory();
    *whole = (aac_tensor){.name = parts[0].name,
                          .dtype = AAC_F32,
                          .rank = parts[0].rank,
                          .shape = {rows, columns},
                          .stride = {columns, 1},
                          .data = *copy};
    for (int64_t i = 0, at = 0; i < part_count; at += parts[i++].shape[0]) {
        aac_tensor part = parts[i];
        const void *contents =
            contents_of(part.data, (size_t)aac_tensor_elements(&part) * sizeof(float), "pack");
        if (contents && (part.dtype != AAC_F32 || !aac_tensor_is_contiguous(&part)))
            give_up("was given device memory that is not dense float32", "pack");
        if (contents)
            part.data = contents;
        aac_tensor_to_f32(&part, *copy + at * columns);
    }
    return AACLIP_OK;
}

static aaclip_status fill(guarded_weight *weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    aac_tensor matrix, bias;
    const aac_tensor *given = bias_parts ? &bias : NULL;
    aaclip_status status = stack(&matrix, &weight->matrix, parts, part_count);
    if (!status && given)
        status = stack(&bias, &weight->bias, bias_parts, part_count);
    if (!status && type == AAC_I8)
        status = aac_backend_reference.pack(&weight->inner, &matrix, given, 1, type, threads);
    else if (!status)
        status = aac_dispatch_pack(&inner, &weight->inner, &matrix, given, 1, type);
    if (status)
        return status;
    weight->base = *weight->inner;
    weight->base.backend = &guarded;
    weight->base.in_place = false;
    return status;
}

static aaclip_status pack(aac_weight **out, const aac_tensor *parts, const aac_tensor *bias_parts,
                          int part_count, aac_dtype type, int threads)
{
    *out = NULL;
    guarded_weight *weight = aac_calloc(1, sizeof *weight);
    if (!weight)
        return aac_error_memory();
    weight->device = current;
    for (int i = 0; i < part_count; i++)
        if (find(parts[i].data))
            give_up("was given device memory", "pack");
    aaclip_status status = fill(weight, parts, bias_parts, part_count, type, threads);
    if (status)
        weight_free(&weight->base);
    else
        *out = &weight->base;
    return status;
}

static aaclip_status repack(aac_weight *base, const aac_tensor *parts, const aac_tensor *bias_parts,
                            int part_count, aac_dtype type)
{
    guarded_weight *weight = (guarded_weight *)base;
    if (weight->device != current)
        give_up("was given a weight of another device", "repack");
    aac_weight_free(&weight->inner);
    aac_free(weight->matrix);
    aac_free(weight->bias);
    weight->matrix = weight->bias = NULL;
    return fill(weight, parts, bias_parts, part_count, type, 1);
}

static const aac_backend guarded = {
    .name = "guarded",
    .memory = &memory_calls,
    .devices = &devices,
    .recorder = &recorder,
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = pack,
    .repack = repack,
    .weight_free = weight_free,
};

__attribute__((constructor)) static void take_over(void)
{
    /* unlike oneDNN, bit for bit the same at any number of threads; `reference` is slow */
    if (aac_dispatch_open(&inner, "blas", 1) && aac_dispatch_open(&inner, "reference", 1))
        give_up(aaclip_last_error(), "start");
    aac_backend_only(&guarded);
}
