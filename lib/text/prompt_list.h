/*
 * Tokenized prompts, sorted so that common prefixes are adjacent: cut into groups that bound the
 * encoder's memory, they still share nearly as much as one tree over all of them.
 */
#ifndef AAC_TEXT_PROMPT_LIST_H
#define AAC_TEXT_PROMPT_LIST_H

#include "text/text_encoder.h"

typedef struct aac_prompt_list {
    int32_t *ids;     // of all prompts, one after the other
    int32_t *offsets; // (count + 1): prompt i is ids[offsets[i]] .. ids[offsets[i + 1] - 1]
    size_t *order;    // (count): position of prompt i in the order of addition
    size_t count, capacity, offsets_capacity, ids_capacity;
} aac_prompt_list;

/* Start with a zeroed struct; clear it even on failure. */
aaclip_status aac_prompt_list_add(aac_prompt_list *list, const int32_t *ids, size_t length);
aaclip_status aac_prompt_list_sort(aac_prompt_list *list);
/*
 * The group that begins with prompt `first` of the sorted list: as many prompts as fit in a prefix
 * tree of `most_rows` nodes, but at least one. It points into the list.
 */
aac_token_batch aac_prompt_list_group(const aac_prompt_list *list, size_t first, int64_t most_rows);
void aac_prompt_list_clear(aac_prompt_list *list);

#endif
