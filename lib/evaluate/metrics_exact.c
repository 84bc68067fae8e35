#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "evaluate/metrics_types.h"

/*
 * Keys order floats as unsigned numbers: the larger the float, the smaller its key. No finite float
 * has the key EXHAUSTED.
 */
#define SIGN      0x80000000u
#define EXHAUSTED UINT32_MAX

#define BETWEEN_LOOKS 65536 /* scores between cancellation checks */

static uint32_t key_of(float value)
{
    value += 0.0f; /* -0 becomes 0: they are equal */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & SIGN ? bits : ~(bits | SIGN);
}

static float value_of(uint32_t key)
{
    const uint32_t bits = key & SIGN ? key : ~(key | SIGN);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define DIGITS     3 /* of 11 bits each, in the keys: the upper halves of the items */
#define DIGIT_BITS 11
#define BUCKETS    (1u << DIGIT_BITS)

static unsigned digit_of(uint64_t item, int digit)
{
    return (unsigned)(item >> (32 + digit * DIGIT_BITS)) & (BUCKETS - 1);
}

/* Sorts order[0] by key (LSD radix sort); returns the array that holds the result. */
static const uint64_t *sort_items(uint64_t *const order[2], size_t count)
{
    uint32_t starts[DIGITS][BUCKETS] = {{0}};
    for (size_t i = 0; i < count; i++)
        for (int digit = 0; digit < DIGITS; digit++)
            starts[digit][digit_of(order[0][i], digit)]++;
    int from = 0;
    for (int digit = 0; digit < DIGITS; digit++) {
        const uint64_t *source = order[from];
        if (starts[digit][digit_of(source[0], digit)] == count)
            continue;
        uint32_t start = 0;
        for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
            const uint32_t size = starts[digit][bucket];
            starts[digit][bucket] = start;
            start += size;
        }
        uint64_t *target = order[1 - from];
        for (size_t i = 0; i < count; i++)
            target[starts[digit][digit_of(source[i], digit)]++] = source[i];
        from = 1 - from;
    }
    return order[from];
}

uint64_t aac_pixels_size(size_t normal, size_t abnormal, size_t regions)
{
    return (uint64_t)regions * sizeof(double) + (uint64_t)normal * sizeof(uint32_t) +
           (uint64_t)abnormal * 2 * sizeof(uint32_t);
}

aaclip_status aac_pixels_keep(aac_pixels *pixels, aac_pixel_room *room, const float *map,
                              size_t count, size_t abnormal, const double *overlaps, size_t regions)
{
    const size_t normal = count - abnormal;
    double *block = aac_alloc((size_t)aac_pixels_size(normal, abnormal, regions));
    if (!block)
        return aac_error_memory();
    uint32_t *normal_keys = (uint32_t *)(block + regions);
    uint32_t *abnormal_keys = normal_keys + normal, *abnormal_regions = abnormal_keys + abnormal;
    *pixels =
        (aac_pixels){block, normal_keys, abnormal_keys, abnormal_regions, block, normal, abnormal};
    if (regions)
        memcpy(block, overlaps, regions * sizeof *block);
    for (size_t i = 0; i < count; i++)
        room->order[0][i] = (uint64_t)key_of(map[i]) << 32 | room->labels[i];
    const uint64_t *sorted = sort_items(room->order, count);
    for (size_t i = 0; i < count; i++) {
        const uint32_t key = (uint32_t)(sorted[i] >> 32), region = (uint32_t)sorted[i];
        if (region) {
            *abnormal_keys++ = key;
            *abnormal_regions++ = region - 1;
        } else {
            *normal_keys++ = key;
        }
    }
    return AACLIP_OK;
}

/* The pixels of one kind of one image; `next` is the first not yet taken. */
typedef struct run {
    const uint32_t *keys;
    const uint32_t *regions; /* NULL: normal */
    const double *overlaps;
    size_t count, next;
} run;

/*
 * A loser tree of runs: tree[1 ..] holds the loser of each match, tree[0] the overall winner. A
 * player is the run's next key, with the run's number in the lower half.
 */
typedef struct tournament {
    run *runs;
    uint64_t *tree;
    size_t leaves; /* a power of two */
} tournament;

static uint64_t player(const tournament *merge, size_t number)
{
    const run *entrant = &merge->runs[number];
    return (uint64_t)(entrant->next < entrant->count ? entrant->keys[entrant->next] : EXHAUSTED)
               << 32 |
           number;
}

static size_t add_run(run *runs, size_t number, const run *added)
{
    if (added->count)
        runs[number++] = *added;
    return number;
}

static void play_all(const tournament *merge, uint64_t *winners, size_t runs)
{
    for (size_t i = 0; i < merge->leaves; i++)
        winners[merge->leaves + i] = i < runs ? player(merge, i) : UINT64_MAX;
    for (size_t node = merge->leaves - 1; node; node--) {
        const uint64_t a = winners[2 * node], b = winners[2 * node + 1];
        winners[node] = a < b ? a : b;
        merge->tree[node] = a < b ? b : a;
    }
    merge->tree[0] = winners[1];
}

/* Replays the matches of run `number` after it has advanced. */
static void play_again(const tournament *merge, size_t number)
{
    uint64_t winner = player(merge, number);
    for (size_t node = (merge->leaves + number) / 2; node; node /= 2) {
        const uint64_t other = merge->tree[node];
        merge->tree[node] = winner < other ? other : winner;
        winner = winner < other ? winner : other;
    }
    merge->tree[0] = winner;
}

/* Takes all pixels of the run that have the key. */
static void take(aac_tie *tie, run *from, uint32_t key)
{
    const size_t start = from->next;
    while (from->next < from->count && from->keys[from->next] == key) {
        if (from->regions)
            tie->overlap += from->overlaps[from->regions[from->next]];
        from->next++;
    }
    *(from->regions ? &tie->abnormal : &tie->normal) += from->next - start;
}

static aaclip_status merge_runs(const tournament *merge, aac_tie_visitor visit, void *user)
{
    uint32_t key = (uint32_t)(merge->tree[0] >> 32), ties = 0;
    aaclip_status status = AACLIP_OK;
    while (!status && key != EXHAUSTED) {
        aac_tie tie = {.score = (double)value_of(key)};
        while ((uint32_t)(merge->tree[0] >> 32) == key) {
            const size_t number = (uint32_t)merge->tree[0];
            take(&tie, &merge->runs[number], key);
            play_again(merge, number);
        }
        visit(user, &tie);
        key = (uint32_t)(merge->tree[0] >> 32);
        if (++ties % BETWEEN_LOOKS == 0)
            status = aac_cancel_look();
    }
    return status;
}

aaclip_status aac_pixels_walk(const aac_pixels *pixels, size_t count, aac_tie_visitor visit,
                              void *user)
{
    tournament merge = {.leaves = 1};
    while (merge.leaves < 2 * count)
        merge.leaves *= 2;
    merge.runs = aac_alloc_array(2 * count, sizeof *merge.runs);
    merge.tree = aac_alloc_array(3 * merge.leaves, sizeof *merge.tree);
    aaclip_status status = merge.runs && merge.tree ? AACLIP_OK : aac_error_memory();
    if (!status) {
        size_t runs = 0;
        for (size_t i = 0; i < count; i++) {
            const aac_pixels *image = &pixels[i];
            runs =
                add_run(merge.runs, runs, &(run){image->normal_keys, NULL, NULL, image->normal, 0});
            runs = add_run(merge.runs, runs,
                           &(run){image->abnormal_keys, image->abnormal_regions, image->overlaps,
                                  image->abnormal, 0});
        }
        play_all(&merge, merge.tree + merge.leaves, runs);
        status = merge_runs(&merge, visit, user);
    }
    aac_free(merge.tree);
    aac_free(merge.runs);
    return status;
}
