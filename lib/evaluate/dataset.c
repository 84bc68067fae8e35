#include "evaluate/dataset.h"

#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/platform.h"
#include "evaluate/dataset_types.h"

#define DEFAULT_MANIFEST "full-shot.jsonl"

aaclip_status aaclip_dataset_options_init_sized(aaclip_dataset_options *options, size_t struct_size)
{
    const aaclip_dataset_options own = {.size = sizeof own};
    return aac_options_write(options, struct_size, &own, sizeof own, "aaclip_dataset_options");
}

aaclip_status aac_path_join(char path[AAC_PATH_SIZE], const char *folder, const char *name)
{
    const bool absolute = aac_path_is_absolute(name);
    int length =
        snprintf(path, AAC_PATH_SIZE, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/", name);
    if (length < 0 || length >= AAC_PATH_SIZE)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: expected a path shorter than %d bytes",
                         name, AAC_PATH_SIZE);
    return AACLIP_OK;
}

bool aac_dataset_wants_class(const aac_dataset_reader *reader, const char *class_name)
{
    const aaclip_dataset_options *options = &reader->options;
    for (size_t i = 0; i < options->class_count; i++)
        if (strcmp(options->classes[i], class_name) == 0)
            return true;
    return options->class_count == 0;
}

bool aac_dataset_wants_split(const aac_dataset_reader *reader, aaclip_dataset_split split)
{
    return reader->options.split == AACLIP_SPLIT_ALL || reader->options.split == split;
}

aaclip_dataset *aac_dataset_new(void)
{
    aaclip_dataset *dataset = aac_calloc(1, sizeof *dataset);
    if (dataset)
        atomic_init(&dataset->references, 1);
    return dataset;
}

static aaclip_status find_class(aaclip_dataset *dataset, const char *name, size_t *index)
{
    *index = aac_names_find(&dataset->class_names, name);
    if (*index != AAC_NO_NAME)
        return AACLIP_OK;
    aac_dataset_class *classes = aac_grow(dataset->classes, &dataset->class_capacity,
                                          dataset->class_count + 1, sizeof *classes);
    if (!classes)
        return aac_error_memory();
    dataset->classes = classes;
    if (!aac_names_reserve(&dataset->class_names, 1))
        return aac_error_memory();
    *index = dataset->class_count++;
    dataset->classes[*index] = (aac_dataset_class){.name = name};
    aac_names_add(&dataset->class_names, name, *index);
    return AACLIP_OK;
}

aaclip_status aac_dataset_append(aaclip_dataset *dataset, const aaclip_sample *sample)
{
    aaclip_sample *samples = aac_grow(dataset->samples, &dataset->capacity, dataset->count + 1,
                                      sizeof *dataset->samples);
    if (!samples)
        return aac_error_memory();
    dataset->samples = samples;
    atomic_uchar *told =
        aac_grow(dataset->told, &dataset->told_capacity, dataset->count + 1, sizeof *dataset->told);
    if (!told)
        return aac_error_memory();
    dataset->told = told;
    atomic_init(&told[dataset->count], 0);
    aaclip_sample *added = &samples[dataset->count];
    *added = *sample;
    aaclip_status status = find_class(dataset, sample->class_name, &added->class_index);
    if (status)
        return status;
    aac_dataset_class *category = &dataset->classes[added->class_index];
    added->class_name = category->name;
    category->sizes[sample->label + 1]++;
    dataset->count++;
    return AACLIP_OK;
}

/* NULL stays NULL; false when out of memory. */
static bool copy_text(aac_arena *texts, const char **text)
{
    if (*text)
        *text = aac_arena_text(texts, *text, strlen(*text));
    return *text;
}

aaclip_status aac_dataset_add(aac_dataset_reader *reader, const aaclip_sample *sample)
{
    aaclip_status status = aac_cancel_look();
    if (status || !aac_dataset_wants_class(reader, sample->class_name))
        return status;
    aac_arena *texts = &reader->dataset->texts;
    aaclip_sample copy = *sample;
    if (!copy_text(texts, &copy.image_path) || !copy_text(texts, &copy.class_name) ||
        (copy.mask_path && !copy_text(texts, &copy.mask_path)) ||
        (copy.defect && !copy_text(texts, &copy.defect)))
        return aac_error_memory();
    return aac_dataset_append(reader->dataset, &copy);
}

/* The next name of a path and its length, 0 at the path's end. */
static const char *next_name(const char *path, size_t *length)
{
    while (aac_is_separator(*path))
        path++;
    for (*length = 0; path[*length] && !aac_is_separator(path[*length]);)
        (*length)++;
    return path;
}

/* Whether `name`, relative to the root, stays below it: judged by the names alone, without
 * following links. */
static bool stays_below(const char *name)
{
    size_t depth = 0, length;
    for (name = next_name(name, &length); length; name = next_name(name + length, &length)) {
        bool up = length == 2 && name[0] == '.' && name[1] == '.';
        if (up && depth-- == 0)
            return false;
        if (!up && !(length == 1 && *name == '.'))
            depth++;
    }
    return true;
}

/* An absolute path is below the root if it begins with the root's path. */
static bool is_inside(const char *root, const char *name)
{
    if (!aac_path_is_absolute(name))
        return stays_below(name);
    size_t length = strlen(root);
    bool whole = length > 0 && aac_is_separator(root[length - 1]);
    return aac_path_is_absolute(root) && strncmp(name, root, length) == 0 &&
           (whole || aac_is_separator(name[length])) && stays_below(name + length);
}

static aaclip_status require_inside(const aac_dataset_reader *reader, const char *name,
                                    const char *what)
{
    if (reader->options.outside_paths || is_inside(reader->root, name))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_FORMAT,
                     "%s %s: expected a file under %s (set aaclip_dataset_options.outside_paths to "
                     "allow others)",
                     what, name, reader->root);
}

static aaclip_status require_file(const char *path, const char *what)
{
    bool is_folder;
    aaclip_status status = aac_path_is_folder(&is_folder, path); /* IO if the system cannot tell */
    if (status || aac_path_kind_of(path) == AAC_PATH_FILE)
        return status;
    return aac_error(AACLIP_ERROR_NOT_FOUND, "%s %s: no such file", what, path);
}

aaclip_status aac_dataset_add_listed(aac_dataset_reader *reader, const aaclip_sample *listed)
{
    if (!aac_dataset_wants_class(reader, listed->class_name))
        return AACLIP_OK;
    char image[AAC_PATH_SIZE], mask[AAC_PATH_SIZE];
    const bool masked =
        listed->mask_path && listed->label != 0 && reader->options.masks != AACLIP_MASKS_IGNORED;
    aaclip_status status = require_inside(reader, listed->image_path, "image");
    if (!status)
        status = aac_path_join(image, reader->root, listed->image_path);
    if (!status)
        status = require_file(image, "image");
    if (!status && masked)
        status = require_inside(reader, listed->mask_path, "mask");
    if (!status && masked)
        status = aac_path_join(mask, reader->root, listed->mask_path);
    if (!status && masked)
        status = require_file(mask, "mask");
    if (!status && !masked && listed->label == 1 && reader->options.masks == AACLIP_MASKS_REQUIRED)
        status = aac_error(AACLIP_ERROR_NOT_FOUND, "image %s: expected a mask, found none", image);
    if (status)
        return status;
    aaclip_sample sample = *listed;
    sample.image_path = image;
    sample.mask_path = masked ? mask : NULL;
    return aac_dataset_add(reader, &sample);
}

const char *aac_skip_byte_order_mark(const char *text, const char *end)
{
    return end - text >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
}

static aaclip_status check_options(const aaclip_dataset_options *options)
{
    if ((unsigned)options->layout > AACLIP_LAYOUT_FOLDER ||
        (unsigned)options->split > AACLIP_SPLIT_TEST ||
        (unsigned)options->masks > AACLIP_MASKS_IGNORED)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_dataset_options: unknown layout %d, split %d or masks %d",
                         (int)options->layout, (int)options->split, (int)options->masks);
    for (size_t i = 0; i < options->class_count; i++)
        if (!options->classes || !options->classes[i])
            return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                             "aaclip_dataset_options: class %zu: expected a name, found NULL", i);
    const aac_window window = {options->window_low, options->window_high};
    if (aac_window_is_given(&window) && !aac_window_is_valid(&window))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "aaclip_dataset_options.window_low: expected two finite numbers, the "
                         "smaller first, found %g and %g",
                         window.low, window.high);
    return AACLIP_OK;
}

/* Sets the folder that paths are relative to: the root without trailing slashes, or a manifest's
 * folder. */
static aaclip_status set_root(aac_dataset_reader *reader, const char *root, aac_path_kind kind)
{
    size_t length = strlen(root);
    while (kind == AAC_PATH_FILE && length && !aac_is_separator(root[length - 1]))
        length--;
    while (length > 1 && aac_is_separator(root[length - 1]))
        length--;
    if (length >= AAC_PATH_SIZE)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "%s: expected a path shorter than %d bytes",
                         root, AAC_PATH_SIZE);
    reader->root = length ? aac_arena_text(&reader->dataset->texts, root, length) : ".";
    reader->dataset->root = reader->root;
    return reader->root ? AACLIP_OK : aac_error_memory();
}

static aaclip_status read_samples(aac_dataset_reader *reader)
{
    const aaclip_dataset_options *options = &reader->options;
    const bool listed =
        options->layout == AACLIP_LAYOUT_AUTO || options->layout == AACLIP_LAYOUT_MANIFEST;
    char found[AAC_PATH_SIZE];
    const char *manifest = options->manifest;
    if (!manifest && listed) {
        aaclip_status status = aac_path_join(found, reader->root, DEFAULT_MANIFEST);
        if (status)
            return status;
        if (aac_path_kind_of(found) == AAC_PATH_FILE) {
            manifest = aac_arena_text(&reader->dataset->texts, found, strlen(found));
            if (!manifest)
                return aac_error_memory();
        } else if (options->layout == AACLIP_LAYOUT_MANIFEST)
            return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: no such file", found);
    }
    if (!manifest)
        return aac_dataset_read_folders(reader);
    reader->options.manifest = manifest;
    return aac_path_has_ending(manifest, ".csv") ? aac_dataset_read_table(reader, manifest)
                                                 : aac_dataset_read_manifest(reader, manifest);
}

static aaclip_status check_content(const aac_dataset_reader *reader)
{
    static const char *const splits[] = {"", " of the split \"train\"",
                                         " of the split \"validation\"", " of the split \"test\""};
    const aaclip_dataset *dataset = reader->dataset;
    for (size_t i = 0; i < reader->options.class_count; i++)
        if (aac_names_find(&dataset->class_names, reader->options.classes[i]) == AAC_NO_NAME)
            return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: no images of the class \"%s\"%s",
                             reader->root, reader->options.classes[i],
                             splits[reader->options.split]);
    if (!dataset->count && reader->options.manifest)
        return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: lists no images%s", reader->options.manifest,
                         splits[reader->options.split]);
    if (!dataset->count)
        return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: no images (png, jpg, jpeg or bmp)%s",
                         reader->root, splits[reader->options.split]);
    return AACLIP_OK;
}

static aaclip_status read_dataset(aac_dataset_reader *reader, const char *root)
{
    aac_path_kind kind = aac_path_kind_of(root);
    if (kind == AAC_PATH_MISSING)
        return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: no such file or folder", root);
    if (kind == AAC_PATH_FILE && reader->options.manifest)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "%s: expected a folder, as a manifest is given", root);
    aaclip_status status = set_root(reader, root, kind);
    if (kind == AAC_PATH_FILE)
        reader->options.manifest = root;
    if (!status)
        status = read_samples(reader);
    return status ? status : check_content(reader);
}

aaclip_status aaclip_dataset_open(aaclip_dataset **dataset, const char *root,
                                  const aaclip_dataset_options *options)
{
    if (!dataset)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_dataset_open: no output");
    *dataset = NULL;
    if (!root || !*root)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "aaclip_dataset_open: no root");
    aac_dataset_reader reader = {.options = {.size = sizeof reader.options}};
    aaclip_status status =
        aac_options_read(&reader.options, sizeof reader.options, options, "aaclip_dataset_options");
    if (!status)
        status = check_options(&reader.options);
    if (status)
        return status;
    reader.dataset = aac_dataset_new();
    if (reader.dataset)
        reader.dataset->window =
            (aac_window){reader.options.window_low, reader.options.window_high};
    status = reader.dataset ? read_dataset(&reader, root) : aac_error_memory();
    if (status)
        aaclip_dataset_close(&reader.dataset);
    *dataset = reader.dataset;
    return status;
}

aaclip_dataset *aac_dataset_retain(const aaclip_dataset *dataset)
{
    aaclip_dataset *writable = (aaclip_dataset *)dataset; /* only the count changes */
    if (writable)
        atomic_fetch_add(&writable->references, 1);
    return writable;
}

void aaclip_dataset_close(aaclip_dataset **handle)
{
    if (!handle || !*handle)
        return;
    aaclip_dataset *dataset = *handle;
    *handle = NULL;
    if (atomic_fetch_sub(&dataset->references, 1) != 1)
        return;
    aaclip_dataset_close(&dataset->source);
    aac_arena_clear(&dataset->texts);
    aac_free(dataset->samples);
    aac_free(dataset->told);
    aac_free(dataset->classes);
    aac_names_clear(&dataset->class_names);
    aac_free(dataset);
}

const aac_window *aac_dataset_window(const aaclip_dataset *dataset)
{
    return aac_window_is_given(&dataset->window) ? &dataset->window : NULL;
}

size_t aaclip_dataset_count(const aaclip_dataset *dataset)
{
    return dataset ? dataset->count : 0;
}

const aaclip_sample *aaclip_dataset_get(const aaclip_dataset *dataset, size_t index)
{
    return dataset && index < dataset->count ? &dataset->samples[index] : NULL;
}

bool aac_dataset_first(const aaclip_dataset *dataset, size_t index, aac_remark remark)
{
    return !(atomic_fetch_or(&dataset->told[index], (unsigned char)remark) & remark);
}

size_t aaclip_dataset_class_count(const aaclip_dataset *dataset)
{
    return dataset ? dataset->class_count : 0;
}

const char *aaclip_dataset_class_name(const aaclip_dataset *dataset, size_t index)
{
    return dataset && index < dataset->class_count ? dataset->classes[index].name : NULL;
}

size_t aaclip_dataset_class_size(const aaclip_dataset *dataset, size_t index, int label)
{
    if (!dataset || index >= dataset->class_count || label < -1 || label > 1)
        return 0;
    return dataset->classes[index].sizes[label + 1];
}

aaclip_status aac_dataset_check_training(const aaclip_dataset *dataset)
{
    for (size_t i = 0; i < dataset->class_count; i++) {
        const aac_dataset_class *category = &dataset->classes[i];
        if (category->sizes[0] || !category->sizes[1] || !category->sizes[2])
            return aac_error(AACLIP_ERROR_MISMATCH,
                             "%s: class \"%s\": training needs both normal and abnormal images, "
                             "all labelled; found %zu normal, %zu abnormal, %zu without a label",
                             dataset->root, category->name, category->sizes[1], category->sizes[2],
                             category->sizes[0]);
    }
    return AACLIP_OK;
}
