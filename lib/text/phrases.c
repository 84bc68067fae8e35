#include "text/phrases.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equal_ignoring_case(const char *a, const char *b)
{
    while (*a && ascii_lower(*a) == ascii_lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

const aac_phrase_table *aac_phrase_table_find(const char *dataset)
{
    for (size_t i = 0; i < aac_phrase_table_count; i++)
        if (equal_ignoring_case(aac_phrase_tables[i].dataset, dataset))
            return &aac_phrase_tables[i];
    return NULL;
}

const char *aac_phrase_find(const aac_phrase_table *table, const char *class_name)
{
    for (size_t i = 0; table && i < table->class_count; i++)
        if (strcmp(table->classes[i].class_name, class_name) == 0)
            return table->classes[i].phrase;
    return NULL;
}

/* The table, or an error that lists the known data sets. */
static aaclip_status require_table(const aac_phrase_table **table, const char *dataset)
{
    *table = aac_phrase_table_find(dataset);
    if (*table)
        return AACLIP_OK;
    char known[512] = "";
    for (size_t i = 0, used = 0; i < aac_phrase_table_count && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 aac_phrase_tables[i].dataset);
    return aac_error(AACLIP_ERROR_NOT_FOUND, "data set \"%s\": expected one of %s", dataset, known);
}

size_t aaclip_known_dataset_count(void)
{
    return aac_phrase_table_count;
}

const char *aaclip_known_dataset_name(size_t index)
{
    return index < aac_phrase_table_count ? aac_phrase_tables[index].dataset : NULL;
}

size_t aaclip_known_dataset_class_count(const char *dataset)
{
    const aac_phrase_table *table = dataset ? aac_phrase_table_find(dataset) : NULL;
    return table ? table->class_count : 0;
}

const char *aaclip_known_dataset_class_name(const char *dataset, size_t index)
{
    const aac_phrase_table *table = dataset ? aac_phrase_table_find(dataset) : NULL;
    return table && index < table->class_count ? table->classes[index].class_name : NULL;
}

aaclip_status aaclip_known_dataset_domain(const char *dataset, aaclip_domain *domain)
{
    if (!dataset || !domain)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "data set and domain: must not be NULL");
    const aac_phrase_table *table;
    aaclip_status status = require_table(&table, dataset);
    if (!status)
        *domain = table->domain;
    return status;
}

static void underscores_to_spaces(char *text)
{
    for (; *text; text++)
        if (*text == '_')
            *text = ' ';
}

/* A text of the phrase table, or else the class name. */
static aaclip_status find_text(const char **text, const char *dataset, const char *class_name)
{
    const aac_phrase_table *table = NULL;
    aaclip_status status = dataset ? require_table(&table, dataset) : AACLIP_OK;
    const char *known = status ? NULL : aac_phrase_find(table, class_name);
    *text = known ? known : class_name;
    return status;
}

aaclip_status aac_phrase_of_class(char **phrase, const char *dataset, const char *class_name)
{
    const char *text;
    *phrase = NULL;
    aaclip_status status = find_text(&text, dataset, class_name);
    if (status)
        return status;
    *phrase = aac_strdup(text);
    if (!*phrase)
        return aac_error_memory();
    if (text == class_name)
        underscores_to_spaces(*phrase);
    return AACLIP_OK;
}

aaclip_status aaclip_class_phrase(const char *dataset, const char *class_name, char *phrase,
                                  size_t capacity)
{
    if (!class_name || !phrase)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "class and phrase: must not be NULL");
    const char *text;
    aaclip_status status = find_text(&text, dataset, class_name);
    if (status)
        return status;
    size_t size = strlen(text) + 1;
    if (size > capacity)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "phrase of class \"%s\": expected a buffer of %zu bytes, found %zu",
                         class_name, size, capacity);
    memcpy(phrase, text, size);
    if (text == class_name)
        underscores_to_spaces(phrase);
    return AACLIP_OK;
}
