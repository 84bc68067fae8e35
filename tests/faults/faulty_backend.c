#include "faulty_backend.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/backend.h"
#include "core/error.h"
#include "core/memory.h"

typedef struct faulty_plan {
    aac_plan base;
    aac_plan *inner;
} faulty_plan;

static aac_dispatch inner; /* does the computing */
static atomic_int made;
static int fail_at = -1;
static char failed[64];

void operations_arm(int at)
{
    made = 0;
    failed[0] = '\0';
    fail_at = at;
}

int operations_disarm(void)
{
    fail_at = -1;
    return made;
}

const char *operations_failed(void)
{
    return failed[0] ? failed : NULL;
}

static aaclip_status count(const char *what, aac_op op)
{
    if (atomic_fetch_add(&made, 1) != fail_at)
        return AACLIP_OK;
    snprintf(failed, sizeof failed, "%s %s", what, aac_op_name(op));
    return aac_error(AACLIP_ERROR_BACKEND, "on purpose: %s", failed);
}

static aaclip_status run(const aac_plan *base, const aac_op_args *args, void *scratch)
{
    const aac_plan *plan = ((const faulty_plan *)base)->inner;
    aaclip_status status = count("run", plan->desc.op);
    return status ? status : plan->run(plan, args, scratch);
}

static const aac_backend faulty;

static aaclip_status plan(aac_plan **out, const aac_op_desc *desc, int threads)
{
    *out = NULL;
    aaclip_status status = count("plan", desc->op);
    if (status)
        return status;
    faulty_plan *own = aac_calloc(1, sizeof *own);
    if (!own)
        return aac_error_memory();
    status = aac_dispatch_choose(&inner, desc)->plan(&own->inner, desc, threads);
    if (status) {
        aac_free(own);
        return status;
    }
    own->base = *own->inner;
    own->base.backend = &faulty;
    own->base.run = run;
    *out = &own->base;
    return AACLIP_OK;
}

static void plan_free(aac_plan *base)
{
    aac_plan_free(&((faulty_plan *)base)->inner);
    aac_free(base);
}

/* The weight is the other backend's own, and goes back to it. */
static aaclip_status pack(aac_weight **weight, const aac_tensor *parts,
                          const aac_tensor *bias_parts, int part_count, aac_dtype type, int threads)
{
    (void)threads;
    *weight = NULL;
    aaclip_status status = count("pack", AAC_OP_LINEAR);
    return status ? status : aac_dispatch_pack(&inner, weight, parts, bias_parts, part_count, type);
}

static bool available(void)
{
    return true;
}

static bool supports(const aac_op_desc *desc)
{
    return aac_dispatch_choose(&inner, desc)->supports(desc);
}

static const aac_backend faulty = {
    .name = "faulty",
    .available = available,
    .supports = supports,
    .plan = plan,
    .plan_free = plan_free,
    .pack = pack,
};

__attribute__((constructor)) static void take_over(void)
{
    /* bit for bit the same each time; `reference` is slow */
    if (aac_dispatch_open(&inner, "blas", 1) && aac_dispatch_open(&inner, "reference", 1)) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    aac_backend_only(&faulty);
}
