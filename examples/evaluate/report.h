/* An evaluation as one self-contained HTML file. */
#ifndef EXAMPLES_REPORT_H
#define EXAMPLES_REPORT_H

#include "evaluate.h"

/* Sources of the thumbnails of the worst images. */
typedef struct report_sources {
    const result_store *store;
    const char *scratch; /* file for thumbnails; removed after use */
    size_t worst;        /* false alarms and misses shown, each */
} report_sources;

/* Writes the section of a checkpoint, while its metrics are open. */
void report_section(FILE *file, const evaluation *result, const report_sources *sources);

/* Joins the sections (one text for each of `count` results) into a document. */
bool write_report(const char *path, json_t *settings, const evaluation *results,
                  char *const *sections, size_t count);

#endif
