/* The phrases that stand for the classes of the published data sets ("metal_nut", "pcb1"). */
#ifndef AAC_TEXT_PHRASES_H
#define AAC_TEXT_PHRASES_H

#include <stddef.h>

#include <aaclip/config.h>
#include <aaclip/status.h>

typedef struct aac_class_phrase {
    const char *class_name, *phrase;
} aac_class_phrase;

typedef struct aac_phrase_table {
    const char *dataset; /* "MVTec" */
    aaclip_domain domain;
    const aac_class_phrase *classes; /* in the order of class-phrases.json */
    size_t class_count;
} aac_phrase_table;

/* Made by make_phrases.py from class-phrases.json. */
extern const aac_phrase_table aac_phrase_tables[];
extern const size_t aac_phrase_table_count;

/* By the data set's name, ignoring case; NULL if there is none. */
const aac_phrase_table *aac_phrase_table_find(const char *dataset);

/* The phrase of a class; NULL if `table` is NULL or does not have the class. */
const char *aac_phrase_find(const aac_phrase_table *table, const char *class_name);

/* aaclip_class_phrase in memory of its own, for aac_free; NULL on failure. */
aaclip_status aac_phrase_of_class(char **phrase, const char *dataset, const char *class_name);

#endif
