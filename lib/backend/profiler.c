/* Profilers count operations: each thread has a list of them. */
#include <string.h>

#include <aaclip/profiler.h>

#include "backend/profiler.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/platform.h"

typedef struct profiler_row {
    aac_op op;
    const aac_backend *backend;
    int threads;
    char *shape;
    uint64_t calls;
    double seconds, flop, bytes;
} profiler_row;

/* A run whose time is not known yet. */
typedef struct pending_run {
    size_t row;
    const aac_backend_clock *clock;
    void *from, *to;
} pending_run;

#define PENDING 256 /* runs, before their times are read */

struct aaclip_profiler {
    aaclip_profiler *next; /* of the same thread, while running */
    bool running;
    bool incomplete; /* out of memory for a row or a mark */
    bool untimed;    /* a device's clock failed */
    profiler_row *rows;
    size_t count, capacity;
    pending_run pending[PENDING];
    size_t pending_count;
};

static AAC_THREAD_LOCAL aaclip_profiler *running;

static bool is_row(const profiler_row *row, const aac_plan *plan, const char *shape)
{
    return row->op == plan->desc.op && row->backend == plan->backend &&
           row->threads == plan->threads && strcmp(row->shape, shape) == 0;
}

static profiler_row *add_row(aaclip_profiler *profiler, const aac_plan *plan, const char *shape)
{
    profiler_row *rows =
        aac_grow(profiler->rows, &profiler->capacity, profiler->count + 1, sizeof *rows);
    if (!rows)
        return NULL;
    profiler->rows = rows;
    profiler_row *row = &rows[profiler->count];
    *row = (profiler_row){.op = plan->desc.op,
                          .backend = plan->backend,
                          .threads = plan->threads,
                          .shape = aac_strdup(shape)};
    profiler->count += row->shape != NULL;
    return row->shape ? row : NULL;
}

/* The row of the plan's operations, NULL when out of memory. */
static profiler_row *find_row(aaclip_profiler *profiler, const aac_plan *plan, const char *shape)
{
    for (size_t i = 0; i < profiler->count; i++)
        if (is_row(&profiler->rows[i], plan, shape))
            return &profiler->rows[i];
    return add_row(profiler, plan, shape);
}

static void settle(aaclip_profiler *profiler)
{
    for (size_t i = 0; i < profiler->pending_count; i++) {
        const pending_run *run = &profiler->pending[i];
        bool marked = run->from && run->to;
        double seconds = marked ? run->clock->seconds(run->from, run->to) : -1;
        if (seconds >= 0)
            profiler->rows[run->row].seconds += seconds;
        profiler->incomplete = profiler->incomplete || !marked;
        profiler->untimed = profiler->untimed || (marked && seconds < 0);
        run->clock->release(run->from);
        run->clock->release(run->to);
    }
    profiler->pending_count = 0;
}

static void count(aaclip_profiler *profiler, const aac_plan *plan, const aac_op_args *args,
                  double seconds, void *from)
{
    const aac_backend_clock *clock = plan->backend->clock;
    const aac_op_cost cost = aac_op_cost_of(&plan->desc, args);
    char shape[AAC_OP_SHAPE_TEXT];
    aac_op_shape_text(shape, &plan->desc, args);
    profiler_row *row = find_row(profiler, plan, shape);
    if (!row) {
        profiler->incomplete = true;
        if (clock)
            clock->release(from);
        return;
    }
    row->calls++;
    row->flop += cost.flop;
    row->bytes += cost.bytes;
    if (!clock) {
        row->seconds += seconds;
        return;
    }
    profiler->pending[profiler->pending_count++] =
        (pending_run){(size_t)(row - profiler->rows), clock, from, clock->mark()};
    if (profiler->pending_count == PENDING)
        settle(profiler);
}

/* Counted by a profiler and those that were started before it. */
static aaclip_status run_counted(aaclip_profiler *profiler, const aac_plan *plan,
                                 const aac_op_args *args, void *scratch)
{
    if (!profiler)
        return plan->run(plan, args, scratch);
    const aac_backend_clock *clock = plan->backend->clock;
    double now = aac_seconds_now();
    void *from = clock ? clock->mark() : NULL;
    aaclip_status status = run_counted(profiler->next, plan, args, scratch);
    count(profiler, plan, args, aac_seconds_now() - now, from);
    return status;
}

bool aac_profiler_is_running(void)
{
    return running != NULL;
}

aaclip_status aac_profiler_run(const aac_plan *plan, const aac_op_args *args, void *scratch)
{
    return run_counted(running, plan, args, scratch);
}

aaclip_status aaclip_profiler_start(aaclip_profiler **profiler)
{
    if (!profiler)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_profiler_start: NULL argument");
    *profiler = aac_calloc(1, sizeof **profiler);
    if (!*profiler)
        return aac_error_memory();
    (*profiler)->running = true;
    (*profiler)->next = running;
    running = *profiler;
    return AACLIP_OK;
}

/* false if the calling thread has not started it. */
static bool take_out(aaclip_profiler *profiler)
{
    aaclip_profiler **link = &running;
    while (*link && *link != profiler)
        link = &(*link)->next;
    if (!*link)
        return false;
    *link = profiler->next;
    profiler->running = false;
    settle(profiler);
    return true;
}

aaclip_status aaclip_profiler_stop(aaclip_profiler *profiler)
{
    if (!profiler)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_profiler_stop: NULL argument");
    if (profiler->running && !take_out(profiler))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_profiler_stop: another thread started this profiler");
    if (profiler->incomplete)
        return aac_error(AACLIP_ERROR_OUT_OF_MEMORY, "profiler: out of memory for an entry");
    if (profiler->untimed)
        return aac_error(AACLIP_ERROR_BACKEND,
                         "profiler: the device's clock did not time all operations");
    return AACLIP_OK;
}

size_t aaclip_profiler_count(const aaclip_profiler *profiler)
{
    return profiler ? profiler->count : 0;
}

aaclip_status aaclip_profiler_get(const aaclip_profiler *profiler, size_t index,
                                  aaclip_profiler_entry *entry)
{
    if (!profiler || !entry)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_profiler_get: NULL argument");
    if (index >= profiler->count)
        return aac_error(AACLIP_ERROR_NOT_FOUND,
                         "aaclip_profiler_get: expected an entry below %zu, found %zu",
                         profiler->count, index);
    const profiler_row *row = &profiler->rows[index];
    const aaclip_profiler_entry own = {.size = sizeof own,
                                       .operation = aac_op_name(row->op),
                                       .shape = row->shape,
                                       .backend = row->backend->name,
                                       .threads = (uint32_t)row->threads,
                                       .calls = row->calls,
                                       .seconds = row->seconds,
                                       .flop = row->flop,
                                       .bytes = row->bytes};
    return aac_options_write(entry, entry->size, &own, sizeof own, "aaclip_profiler_entry");
}

void aaclip_profiler_close(aaclip_profiler **profiler)
{
    if (!profiler || !*profiler)
        return;
    if ((*profiler)->running)
        take_out(*profiler);
    for (size_t i = 0; i < (*profiler)->count; i++)
        aac_free((*profiler)->rows[i].shape);
    aac_free((*profiler)->rows);
    aac_free(*profiler);
    *profiler = NULL;
}
