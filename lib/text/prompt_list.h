/*
 * Tokenized prompts, sorted so that those that begin alike stand together: cut into groups that
 * bound the encoder's memory, they still share nearly all that a tree over all of them would.
 */
#ifndef AAC_TEXT_PROMPT_LIST_H
#define AAC_TEXT_PROMPT_LIST_H

#include "text/text_encoder.h"

typedef struct aac_prompt_list {
    int32_t *ids;     // of all prompts, one after the other
    int32_t *offsets; // (count + 1): prompt i is ids[offsets[i]] .. ids[offsets[i + 1] - 1]
    size_t *order;    // (count): place of prompt i among those that were added
    size_t count, capacity, ids_capacity;
} aac_prompt_list;

/* Start with an empty struct; clear it in either case. */
aaclip_status aac_prompt_list_add(aac_prompt_list *list, const int32_t *ids, size_t length);
aaclip_status aac_prompt_list_sort(aac_prompt_list *list);
/*
 * The group that begins with prompt `first` of the sorted list: as many prompts as a prefix tree of
 * `most_rows` nodes has room for, but one at least. It refers to the list.
 */
aac_token_batch aac_prompt_list_group(const aac_prompt_list *list, size_t first, int64_t most_rows);
void aac_prompt_list_clear(aac_prompt_list *list);

#endif
