/* Data sets inside the library, and what their readers (manifest.c, table.c, layouts.c) share. */
#ifndef AAC_EVALUATE_DATASET_H
#define AAC_EVALUATE_DATASET_H

#include <stdbool.h>

#include <aaclip/dataset.h>

#include "core/window.h"

/* A path with its terminating zero; longer ones are refused. */
#define AAC_PATH_SIZE 4096

aaclip_dataset *aac_dataset_retain(const aaclip_dataset *dataset); /* NULL stays NULL */

/* MISMATCH unless every sample has a label and every class both normal and abnormal samples. */
aaclip_status aac_dataset_check_training(const aaclip_dataset *dataset);

/* The window that its images are read with; NULL: none. */
const aac_window *aac_dataset_window(const aaclip_dataset *dataset);

/* Remarks logged once per sample, however often its files are read. */
typedef enum aac_remark { AAC_REMARK_MASK = 1, AAC_REMARK_DEPTH = 2 } aac_remark;

/* Whether this is the first query for this remark on this sample. Any thread. */
bool aac_dataset_first(const aaclip_dataset *dataset, size_t index, aac_remark remark);

/* A data set being read. */
typedef struct aac_dataset_reader {
    aaclip_dataset *dataset;
    const char *root; /* a folder */
    aaclip_dataset_options options;
} aac_dataset_reader;

/* `folder`/`name`, or `name` alone when it is absolute. */
aaclip_status aac_path_join(char path[AAC_PATH_SIZE], const char *folder, const char *name);

/* Whether the options include samples of this class or split. */
bool aac_dataset_wants_class(const aac_dataset_reader *reader, const char *class_name);
bool aac_dataset_wants_split(const aac_dataset_reader *reader, aaclip_dataset_split split);

/* Adds one sample; texts are copied and class_index is set. Samples of other classes are dropped.
 */
aaclip_status aac_dataset_add(aac_dataset_reader *reader, const aaclip_sample *sample);

/* Skips the byte order mark that some programs put before UTF-8; `text` if there is none. */
const char *aac_skip_byte_order_mark(const char *text, const char *end);

/* The readers. Paths in lists are relative to the root and must exist. */
aaclip_status aac_dataset_read_manifest(aac_dataset_reader *reader, const char *path);
aaclip_status aac_dataset_read_table(aac_dataset_reader *reader, const char *path);
aaclip_status aac_dataset_read_folders(aac_dataset_reader *reader);

/* Adds a sample of a list, whose image_path and mask_path (or NULL) are as given there. */
aaclip_status aac_dataset_add_listed(aac_dataset_reader *reader, const aaclip_sample *sample);

#endif
