#include "core/utf8.h"
#include "text/prompts.h"

#include <stdbool.h>
#include <string.h>

#include <jansson.h>

#include "core/error.h"
#include "core/limits.h"
#include "core/memory.h"
#include "core/platform.h"
#include "text/codepoints.h"
#include "text/tokenizer.h"

#define PLACEHOLDER   "{}"
#define MAX_FILE_SIZE ((size_t)1 << 20)
#define LONGEST_TEXT  4096
#define MOST_FILLED   ((size_t)16 << 20) /* bytes of one side's prompts, usually some kilobytes */
#define EXCERPT       40                 /* bytes of a file's text in an error text */

/* States and templates from WinCLIP's compositional ensemble: 6, 10 and 7, as in the document. */
static const char *const document_normal[] = {
    "flawless {}",     "perfect {}",        "unblemished {}",
    "{} without flaw", "{} without defect", "{} without damage",
};
static const char *const document_abnormal[] = {
    "damaged {}",   "broken {}",    "defective {}",   "flawed {}",      "imperfect {}",
    "blemished {}", "{} with flaw", "{} with defect", "{} with damage", "{} with blemish",
};
static const char *const document_templates[] = {
    "a photo of a {}",
    "a photo of the {}",
    "a cropped photo of a {}",
    "a cropped photo of the {}",
    "a close-up photo of a {}",
    "a close-up photo of the {}",
    "a photo of the {} for anomaly detection",
};

/* The published release. */
static const char *const published_normal[] = {"{}", "a {}", "the {}"};
static const char *const published_abnormal[] = {
    "a damaged {}", "a broken {}", "a {} with flaw", "a {} with defect", "a {} with damage",
};
static const char *const published_templates[] = {"{}.", "a photo of {}."};

typedef struct constant_list {
    const char *const *strings;
    size_t count;
} constant_list;

/* normal, abnormal, templates */
static const constant_list built_in[][3] = {
    [AAC_PROMPTS_DOCUMENT] = {{document_normal, sizeof document_normal / sizeof(char *)},
                              {document_abnormal, sizeof document_abnormal / sizeof(char *)},
                              {document_templates, sizeof document_templates / sizeof(char *)}},
    [AAC_PROMPTS_PUBLISHED] = {{published_normal, sizeof published_normal / sizeof(char *)},
                               {published_abnormal, sizeof published_abnormal / sizeof(char *)},
                               {published_templates, sizeof published_templates / sizeof(char *)}},
};

static bool copy_list(char ***copies, size_t *copied, const constant_list *list)
{
    *copies = aac_calloc(list->count, sizeof **copies);
    for (; *copies && *copied < list->count; ++*copied)
        if (!((*copies)[*copied] = aac_strdup(list->strings[*copied])))
            return false;
    return *copies != NULL;
}

aaclip_status aac_prompt_set_profile(aac_prompt_set *set, aac_prompt_profile profile)
{
    *set = (aac_prompt_set){0};
    if ((size_t)profile >= sizeof built_in / sizeof *built_in)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "prompts: unknown profile %d",
                         (int)profile);
    const constant_list *lists = built_in[profile];
    if (copy_list(&set->normal, &set->normal_count, &lists[0]) &&
        copy_list(&set->abnormal, &set->abnormal_count, &lists[1]) &&
        copy_list(&set->templates, &set->template_count, &lists[2]))
        return AACLIP_OK;
    aac_prompt_set_clear(set);
    return aac_error_memory();
}

static bool has_one_placeholder(const char *text)
{
    const char *first = strstr(text, PLACEHOLDER);
    return first && !strstr(first + strlen(PLACEHOLDER), PLACEHOLDER);
}

static aaclip_status read_list(char ***strings, size_t *count, const json_t *array,
                               const char *path, const char *key)
{
    size_t size = json_array_size(array);
    if (size == 0)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "%s: \"%s\": expected an array of at least one string", path, key);
    *strings = aac_calloc(size, sizeof **strings);
    if (!*strings)
        return aac_error_memory();
    for (; *count < size; ++*count) {
        const char *text = json_string_value(json_array_get(array, *count));
        if (!text || !has_one_placeholder(text))
            return aac_error(AACLIP_ERROR_FORMAT,
                             "%s: \"%s\"[%zu]: expected a string with one \"{}\", found \"%.*s\"",
                             path, key, *count, text ? aac_utf8_excerpt(text, EXCERPT) : 0,
                             text ? text : "");
        if (strlen(text) > LONGEST_TEXT)
            return aac_error(AACLIP_ERROR_FORMAT,
                             "%s: \"%s\"[%zu]: expected at most %d bytes, found %zu", path, key,
                             *count, LONGEST_TEXT, strlen(text));
        (*strings)[*count] = aac_strdup(text);
        if (!(*strings)[*count])
            return aac_error_memory();
    }
    return AACLIP_OK;
}

static aaclip_status check_keys(json_t *json, const char *path)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected an object", path);
    json_object_foreach(json, key, value)
    {
        bool known = strcmp(key, "normal") == 0 || strcmp(key, "abnormal") == 0 ||
                     strcmp(key, "templates") == 0;
        if (!known)
            return aac_error(AACLIP_ERROR_FORMAT,
                             "%s: expected \"normal\", \"abnormal\" and \"templates\", found "
                             "\"%.*s\"",
                             path, aac_utf8_excerpt(key, EXCERPT), key);
    }
    return AACLIP_OK;
}

static aaclip_status read_set(aac_prompt_set *set, json_t *json, const char *path)
{
    aaclip_status status = check_keys(json, path);
    if (!status)
        status = read_list(&set->normal, &set->normal_count, json_object_get(json, "normal"), path,
                           "normal");
    if (!status)
        status = read_list(&set->abnormal, &set->abnormal_count, json_object_get(json, "abnormal"),
                           path, "abnormal");
    if (!status)
        status = read_list(&set->templates, &set->template_count,
                           json_object_get(json, "templates"), path, "templates");
    size_t states =
        set->normal_count > set->abnormal_count ? set->normal_count : set->abnormal_count;
    const uint64_t most = aac_limit(AAC_LIMIT_PROMPTS);
    if (!status && states > most / set->template_count)
        status = aac_error(AACLIP_ERROR_FORMAT,
                           "%s: expected at most %llu prompts, found %zu states in %zu "
                           "templates" AAC_LIMIT_HINT,
                           path, (unsigned long long)most, states, set->template_count);
    return status;
}

aaclip_status aac_prompt_set_read(aac_prompt_set *set, const char *path)
{
    *set = (aac_prompt_set){0};
    aac_mapping file;
    aaclip_status status = aac_read_file(&file, path);
    if (status)
        return status;
    json_t *json = NULL;
    json_error_t error;
    if (file.size > MAX_FILE_SIZE)
        status = aac_error(AACLIP_ERROR_FORMAT, "%s: expected at most %zu bytes, found %zu", path,
                           MAX_FILE_SIZE, file.size);
    else if (!(json =
                   json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &error)))
        status = aac_error(AACLIP_ERROR_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    else
        status = read_set(set, json, path);
    json_decref(json);
    aac_unmap_file(&file);
    if (status)
        aac_prompt_set_clear(set);
    return status;
}

void aac_prompt_set_clear(aac_prompt_set *set)
{
    aac_list_free(set->normal, set->normal_count);
    aac_list_free(set->abnormal, set->abnormal_count);
    aac_list_free(set->templates, set->template_count);
    *set = (aac_prompt_set){0};
}

/* Puts the phrase into the state, and that into the template; braces in the phrase are kept. */
static aaclip_status fill(char **filled, const char *template, const char *state,
                          const char *phrase)
{
    aaclip_status status = aac_text_check_size(strlen(template) + strlen(state) + strlen(phrase) -
                                               2 * strlen(PLACEHOLDER));
    if (status)
        return status;
    const char *state_hole = strstr(state, PLACEHOLDER);
    const char *template_hole = strstr(template, PLACEHOLDER);
    *filled = aac_format("%.*s%.*s%s%s%s", (int)(template_hole - template), template,
                         (int)(state_hole - state), state, phrase, state_hole + strlen(PLACEHOLDER),
                         template_hole + strlen(PLACEHOLDER));
    return *filled ? AACLIP_OK : aac_error_memory();
}

static aaclip_status check_placeholders(char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strstr(texts[i], PLACEHOLDER))
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "prompt \"%.*s\": expected \"{}\" in it",
                             aac_utf8_excerpt(texts[i], EXCERPT), texts[i]);
    return AACLIP_OK;
}

aaclip_status aac_prompts_fill(char ***prompts, size_t *count, char *const *states,
                               size_t state_count, char *const *templates, size_t template_count,
                               const char *phrase)
{
    *prompts = NULL;
    *count = 0;
    size_t total, bytes = 0;
    aaclip_status status = check_placeholders(states, state_count);
    if (!status)
        status = check_placeholders(templates, template_count);
    if (status)
        return status;
    if (!aac_size_multiply(&total, state_count, template_count))
        return aac_error_memory();
    char **filled = aac_calloc(total, sizeof *filled);
    if (!filled)
        return aac_error_memory();
    for (size_t i = 0; i < total; i++) {
        status =
            fill(&filled[i], templates[i % template_count], states[i / template_count], phrase);
        bytes += status ? 0 : strlen(filled[i]);
        if (!status && bytes > MOST_FILLED)
            status = aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                               "prompts of a class: expected at most %zu bytes in all, found more",
                               MOST_FILLED);
        if (status) {
            aac_list_free(filled, total);
            return status;
        }
    }
    *prompts = filled;
    *count = total;
    return AACLIP_OK;
}
