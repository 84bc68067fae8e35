/* torch.save and torch.jit.save archives: the tree in data.pkl becomes a flat list of names. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "files/pickle.h"
#include "files/tensor_index.h"
#include "files/zip.h"

/* Far above any checkpoint; these bound what a small hostile file can make the reader do. */
#define LARGEST_PICKLE  (UINT64_C(64) << 20)
#define DEEPEST_NESTING 64
#define LONGEST_NAME    1024
#define MOST_VISITS     (UINT32_C(1) << 18) /* of values other than tensors */
#define MOST_NAME_BYTES (UINT64_C(16) << 20)
#define MOST_REPEATED   (INT64_C(1) << 24) /* elements of all tensors that repeat their storage */
#define MOST_SHARING    4 /* tensors to a storage, on average: tied weights, a model held twice */

#define PICKLE_SUFFIX "/data.pkl"

struct walk {
    aac_tensor_index *index;
    const aac_zip *zip;
    const char *root;
    int root_length;
    const aac_pickle_value *ancestors[DEEPEST_NESTING];
    int depth;
    char name[LONGEST_NAME];
    size_t name_length;
    uint32_t visits;
    uint64_t name_bytes;
    int64_t repeated;
    int64_t elements, stored; /* of all tensors, and of the records that they refer to */
    bool *used;               /* of each entry of the archive: whether `stored` counts it */
};

static aaclip_status visit(struct walk *walk, const aac_pickle_value *value);

/* The record of a storage, large enough for the elements that the pickle claims. */
static aaclip_status find_record(const unsigned char **data, struct walk *walk,
                                 const aac_pickle_storage *storage)
{
    char name[LONGEST_NAME];
    int length =
        snprintf(name, sizeof name, "%.*s/data/%s", walk->root_length, walk->root, storage->key);
    const aac_zip_entry *entry = length < (int)sizeof name ? aac_zip_find(walk->zip, name) : NULL;
    if (!entry)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: no such record in the archive", name);
    aaclip_status status = aac_zip_check_stored(entry);
    if (status)
        return status;
    size_t element_size = aac_dtype_size(storage->dtype);
    if ((uint64_t)storage->elements > entry->size / element_size)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected %lld elements of %s, found %llu bytes",
                         name, (long long)storage->elements, aac_dtype_name(storage->dtype),
                         (unsigned long long)entry->size);
    *data = entry->data;
    bool *used = &walk->used[entry - walk->zip->entries];
    if (!*used)
        walk->stored += (int64_t)(entry->size / element_size);
    *used = true;
    return AACLIP_OK;
}

/* Strides of 0 and tensors that share a storage let a small archive describe a large model. */
static aaclip_status count_elements(struct walk *walk, int64_t elements, int64_t storage)
{
    if (elements > storage)
        walk->repeated += elements; /* at most 2^24 each: the pickle reader ensures it */
    walk->elements += elements;
    const int64_t shared = walk->elements - walk->stored * MOST_SHARING;
    if (walk->repeated > MOST_REPEATED)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: expected at most %lld repeated elements (strides of 0), "
                         "found %lld",
                         walk->name, (long long)MOST_REPEATED, (long long)walk->repeated);
    if (shared > MOST_REPEATED)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: expected tensors that share their storages at most %d times, found "
                         "%lld elements in storages of %lld",
                         walk->name, MOST_SHARING, (long long)walk->elements,
                         (long long)walk->stored);
    return AACLIP_OK;
}

static aaclip_status visit_tensor(struct walk *walk, const aac_pickle_tensor *tensor)
{
    const unsigned char *data = NULL;
    aaclip_status status = find_record(&data, walk, tensor->storage);
    if (status)
        return aac_error_prefix(status, "%s", walk->name);
    aac_tensor view = {.dtype = tensor->storage->dtype, .rank = tensor->rank};
    memcpy(view.shape, tensor->shape, sizeof view.shape);
    memcpy(view.stride, tensor->stride, sizeof view.stride);
    view.data = data + (uint64_t)tensor->offset * aac_dtype_size(view.dtype);
    status = count_elements(walk, aac_tensor_elements(&view), tensor->storage->elements);
    if (status)
        return status;
    return aac_index_tensor(walk->index, walk->name, &view);
}

/* Visits a value as `<name so far>.<key>`. */
static aaclip_status visit_member(struct walk *walk, const char *key, const aac_pickle_value *value)
{
    size_t before = walk->name_length;
    int added =
        snprintf(walk->name + before, sizeof walk->name - before, "%s%s", before ? "." : "", key);
    if (added < 0 || (size_t)added >= sizeof walk->name - before)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%.100s...: a name of more than %d characters",
                         walk->name, LONGEST_NAME - 1);
    walk->name_length += (size_t)added;
    aaclip_status status = visit(walk, value);
    walk->name_length = before;
    walk->name[before] = '\0';
    return status;
}

static aaclip_status visit_dict(struct walk *walk, const aac_pickle_items *items)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < items->count; i += 2) {
        const aac_pickle_value *key = items->at[i];
        char digits[32];
        snprintf(digits, sizeof digits, "%lld",
                 key->kind == AAC_PICKLE_INTEGER ? (long long)key->integer : 0);
        if (key->kind == AAC_PICKLE_TEXT)
            status = visit_member(walk, key->text, items->at[i + 1]);
        else if (key->kind == AAC_PICKLE_INTEGER)
            status = visit_member(walk, digits, items->at[i + 1]);
        else
            status = aac_error(AACLIP_ERROR_UNSUPPORTED,
                               "%s: expected strings or integers as dict keys, found %s",
                               walk->name, aac_pickle_kind_name(key->kind));
    }
    return status;
}

static aaclip_status visit_sequence(struct walk *walk, const aac_pickle_items *items)
{
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; !status && i < items->count; i++) {
        char digits[32];
        snprintf(digits, sizeof digits, "%zu", i);
        status = visit_member(walk, digits, items->at[i]);
    }
    return status;
}

/* Dicts, lists, tuples and modules, none of which may contain itself. */
static aaclip_status visit_container(struct walk *walk, const aac_pickle_value *value)
{
    for (int i = 0; i < walk->depth; i++)
        if (walk->ancestors[i] == value)
            return aac_error(AACLIP_ERROR_FORMAT, "%s: %s contains itself", walk->name,
                             aac_pickle_kind_name(value->kind));
    if (walk->depth == DEEPEST_NESTING)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: nested more than %d levels deep", walk->name,
                         DEEPEST_NESTING);
    walk->ancestors[walk->depth++] = value;
    aaclip_status status = AACLIP_OK;
    if (value->kind == AAC_PICKLE_DICT)
        status = visit_dict(walk, &value->items);
    else if (value->kind != AAC_PICKLE_OBJECT)
        status = visit_sequence(walk, &value->items);
    else if (value->state)
        status = visit(walk, value->state);
    walk->depth--;
    return status;
}

/* Values may be shared, so that a small pickle can unfold to a large tree: names and values are
 * limited. Tensors have a limit of their own. */
static aaclip_status count_visit(struct walk *walk, aac_pickle_kind kind)
{
    walk->name_bytes += walk->name_length;
    walk->visits += kind != AAC_PICKLE_TENSOR;
    if (walk->visits > MOST_VISITS || walk->name_bytes > MOST_NAME_BYTES)
        return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: too many values", walk->name);
    return aac_cancel_look_at(walk->visits);
}

static aaclip_status visit(struct walk *walk, const aac_pickle_value *value)
{
    aaclip_status status = count_visit(walk, value->kind);
    if (status)
        return status;
    switch (value->kind) {
    case AAC_PICKLE_TENSOR:
        return visit_tensor(walk, value->tensor);
    case AAC_PICKLE_BOOLEAN:
    case AAC_PICKLE_INTEGER:
        return aac_index_number(walk->index, walk->name, (double)value->integer);
    case AAC_PICKLE_NUMBER:
        return aac_index_number(walk->index, walk->name, value->number);
    case AAC_PICKLE_TEXT:
        return aac_index_string(walk->index, walk->name, value->text, strlen(value->text));
    case AAC_PICKLE_TUPLE:
    case AAC_PICKLE_LIST:
    case AAC_PICKLE_DICT:
    case AAC_PICKLE_OBJECT:
        return visit_container(walk, value);
    case AAC_PICKLE_NONE:
    case AAC_PICKLE_STORAGE:
    case AAC_PICKLE_GLOBAL:
        break; /* nothing that callers look up */
    }
    return AACLIP_OK;
}

/* The one entry `<root>/data.pkl`; the root may have any name. */
static aaclip_status find_pickle(const aac_zip_entry **pickle, const aac_zip *zip)
{
    *pickle = NULL;
    for (size_t i = 0; i < zip->count; i++) {
        const char *slash = strchr(zip->entries[i].name, '/');
        if (!slash || strcmp(slash, PICKLE_SUFFIX) != 0)
            continue;
        if (*pickle)
            return aac_error(AACLIP_ERROR_FORMAT, "%s and %s: expected only one of them",
                             (*pickle)->name, zip->entries[i].name);
        *pickle = &zip->entries[i];
    }
    if (!*pickle)
        return aac_error(AACLIP_ERROR_FORMAT, "a zip archive without <folder>" PICKLE_SUFFIX
                                              "; expected one written by torch.save");
    aaclip_status status = aac_zip_check_stored(*pickle);
    if (!status && (*pickle)->size > LARGEST_PICKLE)
        status =
            aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: %llu bytes; at most %llu", (*pickle)->name,
                      (unsigned long long)(*pickle)->size, (unsigned long long)LARGEST_PICKLE);
    return status ? status : aac_zip_check_crc(*pickle);
}

/* Newer versions of torch.save record the byte order. */
static aaclip_status check_byte_order(const struct walk *walk)
{
    char name[LONGEST_NAME];
    snprintf(name, sizeof name, "%.*s/byteorder", walk->root_length, walk->root);
    const aac_zip_entry *entry = aac_zip_find(walk->zip, name);
    if (!entry)
        return AACLIP_OK;
    aaclip_status status = aac_zip_check_stored(entry);
    if (!status && (entry->size != 6 || memcmp(entry->data, "little", 6) != 0))
        status = aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: expected \"little\"", name);
    return status;
}

static aaclip_status read_tree(aac_tensor_index *index, const aac_zip *zip, aac_arena *arena,
                               aac_tensor_file_kind *kind)
{
    const aac_zip_entry *pickle;
    aac_pickle_value *root;
    aaclip_status status = find_pickle(&pickle, zip);
    if (status)
        return status;
    struct walk *walk = aac_arena_alloc(arena, sizeof *walk);
    bool *used = aac_arena_alloc(arena, zip->count * sizeof *used);
    if (!walk || !used)
        return aac_error_memory();
    memset(walk, 0, sizeof *walk);
    memset(used, 0, zip->count * sizeof *used);
    walk->used = used;
    walk->index = index;
    walk->zip = zip;
    walk->root = pickle->name;
    walk->root_length = (int)(strlen(pickle->name) - strlen(PICKLE_SUFFIX));
    status = check_byte_order(walk);
    if (status)
        return status;
    status = aac_pickle_read(&root, arena, pickle->data, (size_t)pickle->size);
    if (!status && root->kind != AAC_PICKLE_DICT && root->kind != AAC_PICKLE_LIST &&
        root->kind != AAC_PICKLE_TUPLE && root->kind != AAC_PICKLE_OBJECT)
        status = aac_error(AACLIP_ERROR_UNSUPPORTED, "expected a dict of tensors, found %s",
                           aac_pickle_kind_name(root->kind));
    if (!status) {
        *kind = root->kind == AAC_PICKLE_OBJECT ? AAC_FILE_TORCHSCRIPT : AAC_FILE_TORCH_STATE;
        status = visit(walk, root);
    }
    return status ? aac_error_prefix(status, "%s", pickle->name) : status;
}

aaclip_status aac_torch_read(aac_tensor_index *index, const aac_mapping *file,
                             aac_tensor_file_kind *kind)
{
    aac_zip zip;
    aac_arena arena = {0};
    aaclip_status status = aac_zip_read(&zip, file->data, file->size);
    if (!status)
        status = read_tree(index, &zip, &arena, kind);
    aac_arena_clear(&arena);
    aac_zip_clear(&zip);
    return status;
}
