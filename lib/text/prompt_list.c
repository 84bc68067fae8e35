#include "text/prompt_list.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

/* One prompt more, with `ids` in all. */
static bool reserve(aac_prompt_list *list, size_t ids)
{
    int32_t *offsets =
        aac_grow(list->offsets, &list->offsets_capacity, list->count + 2, sizeof *offsets);
    if (!offsets)
        return false;
    list->offsets = offsets;
    size_t *order = aac_grow(list->order, &list->capacity, list->count + 1, sizeof *order);
    if (!order)
        return false;
    list->order = order;
    int32_t *grown = aac_grow(list->ids, &list->ids_capacity, ids, sizeof *grown);
    if (!grown)
        return false;
    list->ids = grown;
    return true;
}

aaclip_status aac_prompt_list_add(aac_prompt_list *list, const int32_t *ids, size_t length)
{
    size_t used = list->count ? (size_t)list->offsets[list->count] : 0;
    if (used + length > INT32_MAX)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "prompts: expected at most %d tokens in one call", INT32_MAX);
    if (!reserve(list, used + length))
        return aac_error_memory();
    memcpy(list->ids + used, ids, length * sizeof *ids);
    list->order[list->count] = list->count;
    list->offsets[list->count++] = (int32_t)used;
    list->offsets[list->count] = (int32_t)(used + length);
    return AACLIP_OK;
}

typedef struct sorted_prompt {
    const int32_t *ids;
    int32_t length;
    size_t place;
} sorted_prompt;

static int32_t common_beginning(const int32_t *a, int32_t a_length, const int32_t *b,
                                int32_t b_length)
{
    int32_t most = a_length < b_length ? a_length : b_length, common = 0;
    while (common < most && a[common] == b[common])
        common++;
    return common;
}

static int compare_prompts(const void *left, const void *right)
{
    const sorted_prompt *a = left, *b = right;
    int32_t common = common_beginning(a->ids, a->length, b->ids, b->length);
    if (common < a->length && common < b->length)
        return a->ids[common] < b->ids[common] ? -1 : 1;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

aaclip_status aac_prompt_list_sort(aac_prompt_list *list)
{
    if (!list->count)
        return AACLIP_OK;
    sorted_prompt *sorted = aac_alloc_array(list->count, sizeof *sorted);
    int32_t *ids = aac_alloc_array((size_t)list->offsets[list->count], sizeof *ids);
    if (!sorted || !ids) {
        aac_free(sorted);
        aac_free(ids);
        return aac_error_memory();
    }
    for (size_t i = 0; i < list->count; i++)
        sorted[i] = (sorted_prompt){list->ids + list->offsets[i],
                                    list->offsets[i + 1] - list->offsets[i], list->order[i]};
    qsort(sorted, list->count, sizeof *sorted, compare_prompts);
    for (size_t i = 0; i < list->count; i++) {
        memcpy(ids + list->offsets[i], sorted[i].ids, (size_t)sorted[i].length * sizeof *ids);
        list->offsets[i + 1] = list->offsets[i] + sorted[i].length;
        list->order[i] = sorted[i].place;
    }
    list->ids_capacity = (size_t)list->offsets[list->count];
    aac_free(list->ids);
    list->ids = ids;
    aac_free(sorted);
    return AACLIP_OK;
}

/* Rows that prompt i adds to the tree of prompts `first` to i - 1. */
static int64_t new_rows(const aac_prompt_list *list, size_t first, size_t i)
{
    const int32_t *offsets = list->offsets;
    int32_t length = offsets[i + 1] - offsets[i];
    if (i == first)
        return length;
    return length - common_beginning(list->ids + offsets[i - 1], offsets[i] - offsets[i - 1],
                                     list->ids + offsets[i], length);
}

aac_token_batch aac_prompt_list_group(const aac_prompt_list *list, size_t first, int64_t most_rows)
{
    size_t end = first;
    int64_t rows = 0;
    for (; end < list->count; end++) {
        rows += new_rows(list, first, end);
        if (rows > most_rows && end > first)
            break;
    }
    return (aac_token_batch){list->ids, list->offsets + first, (int64_t)(end - first)};
}

void aac_prompt_list_clear(aac_prompt_list *list)
{
    aac_free(list->ids);
    aac_free(list->offsets);
    aac_free(list->order);
    *list = (aac_prompt_list){0};
}
