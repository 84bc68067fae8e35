/* Opens any file of tensors; lookup by name in the list that the readers fill. */
#include "files/tensor_file.h"

#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/limits.h"
#include "core/memory.h"
#include "core/names.h"
#include "files/arena.h"
#include "files/checksum.h"
#include "files/tensor_index.h"

#define MOST_VERIFIED ((size_t)64 << 20) /* more would delay a start noticeably */

typedef enum entry_kind { ENTRY_TENSOR, ENTRY_NUMBER, ENTRY_STRING } entry_kind;

typedef struct entry {
    const char *name;
    entry_kind kind;
    size_t tensor; /* index in `tensors` */
    double number;
    const char *string;
} entry;

struct aac_tensor_index {
    aac_arena arena;
    aac_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    entry *entries;
    size_t entry_count, entry_capacity;
    aac_names names; /* indices of entries */
};

struct aac_tensor_file {
    char *path;
    aac_mapping mapping;
    bool in_memory; /* the caller's */
    aac_tensor_file_kind kind;
    aac_tensor_index index;
};

static const entry *find_entry(const aac_tensor_index *index, const char *name, entry_kind kind)
{
    size_t number = aac_names_find(&index->names, name);
    const entry *found = number != AAC_NO_NAME ? &index->entries[number] : NULL;
    return found && found->kind == kind ? found : NULL;
}

static aaclip_status add_entry(aac_tensor_index *index, const char *name, entry_kind kind,
                               entry **added)
{
    aaclip_status status = aac_cancel_look_at(index->entry_count);
    if (status)
        return status;
    entry *entries =
        aac_grow(index->entries, &index->entry_capacity, index->entry_count + 1, sizeof *entries);
    if (!entries)
        return aac_error_memory();
    index->entries = entries;
    if (!aac_names_reserve(&index->names, 1))
        return aac_error_memory();
    if (aac_names_find(&index->names, name) != AAC_NO_NAME)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected once, found twice", name);
    const char *copy = aac_arena_text(&index->arena, name, strlen(name));
    if (!copy)
        return aac_error_memory();
    *added = &entries[index->entry_count];
    **added = (entry){.name = copy, .kind = kind};
    aac_names_add(&index->names, copy, index->entry_count++);
    return AACLIP_OK;
}

aaclip_status aac_index_tensor(aac_tensor_index *index, const char *name, const aac_tensor *tensor)
{
    const uint64_t most = aac_limit(AAC_LIMIT_TENSORS);
    if (index->tensor_count >= most)
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "%s: expected at most %llu tensors, found %zu or more" AAC_LIMIT_HINT,
                         name, (unsigned long long)most, index->tensor_count + 1);
    aac_tensor *tensors =
        aac_grow(index->tensors, &index->tensor_capacity, index->tensor_count + 1, sizeof *tensors);
    if (!tensors)
        return aac_error_memory();
    index->tensors = tensors;
    entry *added = NULL;
    aaclip_status status = add_entry(index, name, ENTRY_TENSOR, &added);
    if (status)
        return status;
    added->tensor = index->tensor_count;
    tensors[index->tensor_count] = *tensor;
    tensors[index->tensor_count++].name = added->name;
    return AACLIP_OK;
}

aaclip_status aac_index_number(aac_tensor_index *index, const char *name, double value)
{
    entry *added = NULL;
    aaclip_status status = add_entry(index, name, ENTRY_NUMBER, &added);
    if (!status)
        added->number = value;
    return status;
}

aaclip_status aac_index_string(aac_tensor_index *index, const char *name, const char *value,
                               size_t length)
{
    entry *added = NULL;
    const char *copy = aac_arena_text(&index->arena, value, length);
    if (!copy)
        return aac_error_memory();
    aaclip_status status = add_entry(index, name, ENTRY_STRING, &added);
    if (!status)
        added->string = copy;
    return status;
}

static bool starts_with(const aac_mapping *mapping, const char *bytes, size_t length)
{
    return mapping->size >= length && memcmp(mapping->data, bytes, length) == 0;
}

static aaclip_status check_size(const aac_mapping *mapping)
{
    const uint64_t most = aac_limit(AAC_LIMIT_CHECKPOINT_BYTES);
    if (mapping->size <= most)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_UNSUPPORTED,
                     "expected at most %llu bytes, found %zu" AAC_LIMIT_HINT,
                     (unsigned long long)most, mapping->size);
}

static aaclip_status read_content(aac_tensor_file *file)
{
    const aac_mapping *mapping = &file->mapping;
    if (!mapping->size)
        return aac_error(AACLIP_ERROR_FORMAT, "the file is empty");
    if (starts_with(mapping, "PK\3\4", 4))
        return aac_torch_read(&file->index, mapping, &file->kind);
    if (starts_with(mapping, "\200\2\212\12l\374\234F\371 j\250P\31.", 15))
        return aac_error(AACLIP_ERROR_UNSUPPORTED,
                         "written by torch.save before version 1.6; load it with PyTorch and save "
                         "it again");
    file->kind = AAC_FILE_SAFETENSORS;
    /* 8 bytes of header length, then JSON */
    if (mapping->size < 9 || mapping->data[8] != '{')
        return aac_error(AACLIP_ERROR_FORMAT,
                         "expected a safetensors file or a torch.save zip archive, found neither");
    return aac_safetensors_read(&file->index, mapping);
}

static aaclip_status read_file(aac_tensor_file *file)
{
    aaclip_status status = check_size(&file->mapping);
    if (!status)
        status = read_content(file);
    for (size_t i = 0; i < file->index.tensor_count; i++)
        file->index.tensors[i].mapped = !file->in_memory;
    return status ? aac_error_prefix(status, "%s", file->path) : AACLIP_OK;
}

/* `memory`: NULL for the file at the path. */
static aaclip_status open_named(aac_tensor_file **out, const char *path, const aac_mapping *memory)
{
    *out = NULL;
    aac_tensor_file *file = aac_calloc(1, sizeof *file);
    if (!file)
        return aac_error_prefix(aac_error_memory(), "%s", path);
    aaclip_status status = AACLIP_OK;
    file->path = aac_strdup(path);
    file->in_memory = memory != NULL;
    if (!file->path)
        status = aac_error_memory();
    else if (memory)
        file->mapping = *memory;
    else
        status = aac_map_file(&file->mapping, path);
    if (!status)
        status = read_file(file);
    if (status)
        aac_tensor_file_close(&file);
    *out = file;
    return status;
}

aaclip_status aac_tensor_file_open(aac_tensor_file **file, const char *path)
{
    return open_named(file, path, NULL);
}

aaclip_status aac_tensor_file_open_memory(aac_tensor_file **file, const void *bytes, size_t size,
                                          const char *name)
{
    return open_named(file, name, &(aac_mapping){.data = bytes, .size = size});
}

aaclip_status aac_tensor_file_reopen(aac_tensor_file **file, const aac_tensor_file *from)
{
    return open_named(file, from->path, from->in_memory ? &from->mapping : NULL);
}

bool aac_tensor_file_in_memory(const aac_tensor_file *file)
{
    return file->in_memory;
}

void aac_tensor_file_close(aac_tensor_file **out)
{
    aac_tensor_file *file = *out;
    if (!file)
        return;
    aac_arena_clear(&file->index.arena);
    aac_free(file->index.tensors);
    aac_free(file->index.entries);
    aac_names_clear(&file->index.names);
    if (!file->in_memory)
        aac_unmap_file(&file->mapping);
    aac_free(file->path);
    aac_free(file);
    *out = NULL;
}

aaclip_status aac_tensor_file_check(const aac_tensor_file *file)
{
    if (!file || file->in_memory || !aac_mapping_is_stale(&file->mapping, file->path))
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_IO, "%s: changed since it was opened", file->path);
}

aaclip_status aac_tensor_file_verify(const aac_tensor_file *file)
{
    if (file->kind != AAC_FILE_SAFETENSORS || file->mapping.size > MOST_VERIFIED)
        return AACLIP_OK;
    aaclip_status status = aac_checksum_check(file->mapping.data, file->mapping.size);
    return status ? aac_error_prefix(status, "%s", file->path) : AACLIP_OK;
}

void aac_tensor_file_release(const aac_tensor_file *file)
{
    if (!file->in_memory)
        aac_mapping_release(file->mapping.data, file->mapping.size);
}

size_t aac_tensor_file_size(const aac_tensor_file *file)
{
    return file->mapping.size;
}

int64_t aac_tensor_file_changed(const aac_tensor_file *file)
{
    return file->mapping.changed;
}

void aac_tensor_file_prefetch(const aac_tensor_file *file)
{
    if (file->in_memory)
        return;
    aac_prefer_large_pages((void *)file->mapping.data, file->mapping.size);
    aac_mapping_prefetch(&file->mapping);
}

const char *aac_tensor_file_path(const aac_tensor_file *file)
{
    return file->path;
}

aac_tensor_file_kind aac_tensor_file_get_kind(const aac_tensor_file *file)
{
    return file->kind;
}

size_t aac_tensor_file_count(const aac_tensor_file *file)
{
    return file->index.tensor_count;
}

const aac_tensor *aac_tensor_file_at(const aac_tensor_file *file, size_t index)
{
    return &file->index.tensors[index];
}

const aac_tensor *aac_tensor_file_find(const aac_tensor_file *file, const char *name)
{
    const entry *found = find_entry(&file->index, name, ENTRY_TENSOR);
    return found ? &file->index.tensors[found->tensor] : NULL;
}

bool aac_tensor_file_has(const aac_tensor_file *file, const char *prefix)
{
    const size_t length = strlen(prefix);
    for (size_t i = 0; i < aac_tensor_file_count(file); i++)
        if (strncmp(aac_tensor_file_at(file, i)->name, prefix, length) == 0)
            return true;
    return false;
}

bool aac_tensor_file_number(const aac_tensor_file *file, const char *name, double *value)
{
    const entry *found = find_entry(&file->index, name, ENTRY_NUMBER);
    if (found)
        *value = found->number;
    return found != NULL;
}

const char *aac_tensor_file_string(const aac_tensor_file *file, const char *name)
{
    const entry *found = find_entry(&file->index, name, ENTRY_STRING);
    return found ? found->string : NULL;
}
