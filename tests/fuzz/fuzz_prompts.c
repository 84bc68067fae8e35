/* Any bytes as a prompt set: what is read must fill, and each prompt must contain the phrase. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/platform.h"
#include "fuzz.h"
#include "scratch.h"
#include "text/prompts.h"

static void fill(char *const *states, size_t count, const aac_prompt_set *set)
{
    char **prompts;
    size_t filled;
    if (aac_prompts_fill(&prompts, &filled, states, count, set->templates, set->template_count,
                         "steel nut") ||
        filled != count * set->template_count)
        abort();
    for (size_t i = 0; i < filled; i++)
        if (!strstr(prompts[i], "steel nut"))
            abort();
    aac_list_free(prompts, filled);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    char *path = fuzz_write("prompts.json", data, size);
    aac_prompt_set set;
    if (aac_prompt_set_read(&set, path) == AACLIP_OK) {
        fill(set.normal, set.normal_count, &set);
        fill(set.abnormal, set.abnormal_count, &set);
    } else if (set.normal || !*aaclip_last_error()) {
        abort();
    }
    aac_prompt_set_clear(&set);
    aac_free(path);
}
