/*
 * A backend with memory of its own, for tests on machines without such a device: linked into a
 * test, it stands for all backends of the build before main begins.
 *
 * Its memory has addresses that nobody can read or write: the host stops at the line that tries.
 * The contents lie elsewhere; each operation finds them by address, and ends the test when it is
 * given memory of the host. The operations themselves are those of another backend.
 *
 * It has two devices. Memory and plans are for the one that the thread had entered when they were
 * made, and the test ends when they are used with the other.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/backend.h"
#include "core/error.h"
#include "core/memory.h"
#include "guarded_backend.h"

typedef struct block {
    struct block *next;
    char *address; /* that the host sees: no access */
    size_t bytes, mapped;
    char *contents;
    int device;
} block;

typedef struct guarded_plan {
    aac_plan base;
    aac_plan *inner;
    int device;
} guarded_plan;

static aac_dispatch inner; /* who computes */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static _Thread_local int current;

int guarded_device(void)
{
    return current;
}

static int count_devices(void)
{
    return 2;
}

static int enter_device(int device)
{
    int previous = current;
    current = device;
    return previous;
}

static const aac_backend_devices devices = {count_devices, enter_device};

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

static void *allocate(size_t bytes)
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
    memset(contents, 0xff, bytes); /* what is read before it was written is no number */
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

static void release(void *memory)
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

/* Where the bytes are that `address` stands for; NULL when it is memory of the host. */
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

static aaclip_status copy(void *to, const void *from, size_t bytes)
{
    char *target = contents_of(to, bytes, "copy");
    const char *source = contents_of(from, bytes, "copy");
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
    memset(contents, 0, bytes);
    return AACLIP_OK;
}

static aaclip_status wait_for_all(void)
{
    return AACLIP_OK;
}

static const aac_backend_memory memory_calls = {allocate, release, copy, clear, wait_for_all};

static void *translate(const void *address, const aac_plan *plan)
{
    void *contents = address ? contents_of(address, 0, aac_op_name(plan->desc.op)) : NULL;
    if (address && !contents)
        give_up("was given memory of the host", aac_op_name(plan->desc.op));
    return contents;
}

static aaclip_status run(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_plan *plan = ((const guarded_plan *)base)->inner;
    aac_op_args own = *args;
    if (((const guarded_plan *)base)->device != current)
        give_up("planned for another device", aac_op_name(plan->desc.op));
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
    aac_adam_step step;
    if (plan->desc.op == AAC_OP_ADAM) {
        step = *args->adam;
        step.first_moment = translate(step.first_moment, plan);
        step.second_moment = translate(step.second_moment, plan);
        own.adam = &step;
    }
    return plan->run(plan, &own, plan->scratch ? translate(scratch, plan) : NULL);
}

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    return desc->op < AAC_OP_COUNT;
}

static const aac_backend guarded;

/* What is packed for integers meets rows of either type, which of these only `reference` has both.
 */
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
                            .run = run};
    *out = &made->base;
    return AACLIP_OK;
}

static void plan_free(aac_plan *base)
{
    aac_plan_free(&((guarded_plan *)base)->inner);
    aac_free(base);
}

/* The weight is that of the backend that multiplies it, which frees it too. */
static aaclip_status pack(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    for (int i = 0; i < part_count; i++)
        if (find(parts[i].data) || (bias_parts && find(bias_parts[i].data)))
            give_up("was given device memory", "pack");
    if (type == AAC_I8)
        return aac_backend_reference.pack(weight, parts, bias_parts, part_count, type, threads);
    return aac_dispatch_pack(&inner, weight, parts, bias_parts, part_count, type);
}

static void weight_free(aac_weight *weight)
{
    weight->backend->weight_free(weight);
}

static const aac_backend guarded = {
    .name = "guarded",
    .memory = &memory_calls,
    .devices = &devices,
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = pack,
    .weight_free = weight_free,
};

__attribute__((constructor)) static void take_over(void)
{
    /* bit for bit the same at any number of threads, as oneDNN is not; `reference` is slow */
    if (aac_dispatch_open(&inner, "blas", 1) && aac_dispatch_open(&inner, "reference", 1))
        give_up(aaclip_last_error(), "start");
    aac_backend_only(&guarded);
}
