/* Prompt sets: states and templates into which a class phrase is put. */
#ifndef AAC_TEXT_PROMPTS_H
#define AAC_TEXT_PROMPTS_H

#include <stddef.h>

#include <aaclip/status.h>

/* States with "{}" for the object, templates with "{}" for the filled state. */
typedef struct aac_prompt_set {
    char **normal, **abnormal, **templates;
    size_t normal_count, abnormal_count, template_count;
} aac_prompt_set;

typedef enum aac_prompt_profile { AAC_PROMPTS_DOCUMENT, AAC_PROMPTS_PUBLISHED } aac_prompt_profile;

/* The built-in sets: 6 + 10 states x 7 templates, or 3 + 5 x 2. */
aaclip_status aac_prompt_set_profile(aac_prompt_set *set, aac_prompt_profile profile);
/* JSON {"normal": ["{}", ...], "abnormal": [...], "templates": [...]}: one "{}" in every entry. */
aaclip_status aac_prompt_set_read(aac_prompt_set *set, const char *path);
void aac_prompt_set_clear(aac_prompt_set *set);

/*
 * The prompts of one class in order: for each state, each template. `prompts` receives an array of
 * `count` strings; free with aac_list_free.
 */
aaclip_status aac_prompts_fill(char ***prompts, size_t *count, char *const *states,
                               size_t state_count, char *const *templates, size_t template_count,
                               const char *phrase);

#endif
