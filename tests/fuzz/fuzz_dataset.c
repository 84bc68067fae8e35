/* Any bytes as a manifest or table of a data set: what is read can be saved and read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aaclip/dataset.h>

#include "core/memory.h"
#include "fuzz.h"
#include "scratch.h"

static aaclip_status open_manifest(aaclip_dataset **dataset, const char *path,
                                   const aaclip_dataset_options *options)
{
    aaclip_dataset_options own = *options;
    own.manifest = path;
    return aaclip_dataset_open(dataset, fuzz_folder(), &own);
}

static void check_sample(const aaclip_dataset *dataset, const aaclip_sample *sample)
{
    if (!sample->image_path || !sample->class_name || sample->label < -1 || sample->label > 1 ||
        sample->class_index >= aaclip_dataset_class_count(dataset) ||
        strcmp(aaclip_dataset_class_name(dataset, sample->class_index), sample->class_name) != 0)
        abort();
}

static void read_again(const aaclip_dataset *dataset)
{
    aaclip_dataset *again = NULL;
    aaclip_dataset_options options;
    aaclip_dataset_options_init(&options);
    char *path = aac_format("%s/again.jsonl", fuzz_folder());
    aaclip_status status = aaclip_dataset_save_manifest(dataset, path);
    if (!status && (open_manifest(&again, path, &options) ||
                    aaclip_dataset_count(again) != aaclip_dataset_count(dataset))) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    aaclip_dataset_close(&again);
    aac_free(path);
}

static void make_images(void)
{
    static const char *const names[] = {"a.png", "b.png", "mask.png"};
    static bool made;
    for (size_t i = 0; !made && i < sizeof names / sizeof *names; i++)
        aac_free(fuzz_write(names[i], (const uint8_t *)"", 0));
    made = true;
}

/* Input: a byte of options, then the file, a table if the lowest bit is set. */
void fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const classes[] = {"bolt"};
    aaclip_dataset_options options;
    aaclip_dataset *dataset;
    if (!size)
        return;
    make_images();
    aaclip_dataset_options_init(&options);
    options.classes = classes;
    options.class_count = *data >> 1 & 1;
    options.split = (aaclip_dataset_split)(*data >> 2 & 3);
    options.masks = (aaclip_dataset_masks)((*data >> 4 & 3) % 3);
    char *path = fuzz_write(*data & 1 ? "input.csv" : "input.jsonl", data + 1, size - 1);
    aaclip_status status = open_manifest(&dataset, path, &options);
    if ((status == AACLIP_OK) != (dataset != NULL) || (status && !*aaclip_last_error()))
        abort();
    for (size_t i = 0; i < aaclip_dataset_count(dataset); i++)
        check_sample(dataset, aaclip_dataset_get(dataset, i));
    if (dataset)
        read_again(dataset);
    aaclip_dataset_close(&dataset);
    aac_free(path);
}
