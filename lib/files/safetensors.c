/* The safetensors format: 8 bytes of length, a JSON header, then the tensors' bytes. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/platform.h"
#include "core/utf8.h"
#include "files/bytes.h"
#include "files/checksum.h"
#include "files/tensor_index.h"

#define MOST_AT_ONCE ((size_t)1 << 24) /* bytes between cancellation checks */

static const struct {
    const char *name;
    aac_dtype dtype;
} dtypes[] = {
    {"F32", AAC_F32}, {"F16", AAC_F16}, {"BF16", AAC_BF16}, {"F64", AAC_F64}, {"BOOL", AAC_BOOL},
    {"U8", AAC_U8},   {"I8", AAC_I8},   {"I16", AAC_I16},   {"I32", AAC_I32}, {"I64", AAC_I64},
};

#define DTYPE_COUNT (sizeof dtypes / sizeof *dtypes)

/* Bytes that a tensor claims, to check that each belongs to exactly one tensor. */
typedef struct claim {
    uint64_t begin, end;
    const char *name;
} claim;

static aaclip_status read_dtype(aac_tensor *tensor, const char *name, const char *text)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (strcmp(text, dtypes[i].name) == 0) {
            tensor->dtype = dtypes[i].dtype;
            return AACLIP_OK;
        }
    return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: numbers of type %s are not supported", name,
                     text);
}

static aaclip_status read_shape(aac_tensor *tensor, const char *name, const json_t *shape,
                                uint64_t *bytes)
{
    size_t rank = json_array_size(shape), total = aac_dtype_size(tensor->dtype);
    if (!json_is_array(shape) || rank > AAC_MAX_RANK)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected a shape of at most %d numbers", name,
                         AAC_MAX_RANK);
    tensor->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *item = json_array_get(shape, i);
        json_int_t size = json_integer_value(item);
        if (!json_is_integer(item) || size < 0 || (json_int_t)(size_t)size != size ||
            !aac_size_multiply(&total, total, (size_t)size))
            return aac_error(AACLIP_ERROR_FORMAT, "%s: shape: dimension %zu is not a valid size",
                             name, i);
        tensor->shape[i] = size;
    }
    int64_t stride = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        int64_t size = tensor->shape[i] ? tensor->shape[i] : 1;
        tensor->stride[i] = stride;
        if (stride > INT64_MAX / 8 / size)
            return aac_error(AACLIP_ERROR_FORMAT, "%s: shape: too large", name);
        stride *= size;
    }
    *bytes = total;
    return AACLIP_OK;
}

static aaclip_status read_range(claim *range, const char *name, const json_t *offsets,
                                uint64_t bytes, uint64_t available)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: data_offsets: expected two ascending numbers",
                         name);
    *range = (claim){(uint64_t)json_integer_value(begin), (uint64_t)json_integer_value(end), name};
    if (range->end > available)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "%s: data_offsets: end %llu is beyond the file's %llu bytes of data", name,
                         (unsigned long long)range->end, (unsigned long long)available);
    if (range->end - range->begin != bytes)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected %llu bytes for its shape, found %llu",
                         name, (unsigned long long)bytes,
                         (unsigned long long)(range->end - range->begin));
    return AACLIP_OK;
}

static aaclip_status read_tensor(aac_tensor_index *index, const char *name, const json_t *object,
                                 const unsigned char *data, uint64_t available, claim *range)
{
    aac_tensor tensor = {0};
    uint64_t bytes = 0;
    const char *dtype = json_string_value(json_object_get(object, "dtype"));
    if (!dtype)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: expected a dtype", name);
    aaclip_status status = read_dtype(&tensor, name, dtype);
    if (!status)
        status = read_shape(&tensor, name, json_object_get(object, "shape"), &bytes);
    if (!status)
        status = read_range(range, name, json_object_get(object, "data_offsets"), bytes, available);
    if (status)
        return status;
    tensor.data = data + range->begin;
    return aac_index_tensor(index, name, &tensor);
}

static aaclip_status read_metadata(aac_tensor_index *index, json_t *metadata)
{
    const char *key;
    json_t *value;
    aaclip_status status = AACLIP_OK;
    if (!json_is_object(metadata))
        return aac_error(AACLIP_ERROR_FORMAT, "__metadata__: expected an object");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return aac_error(AACLIP_ERROR_FORMAT, "__metadata__: %s: expected a string", key);
        status = aac_index_string(index, key, json_string_value(value), json_string_length(value));
        if (status)
            return status;
    }
    return AACLIP_OK;
}

static int compare_claims(const void *a, const void *b)
{
    const claim *left = a, *right = b;
    if (left->begin != right->begin)
        return left->begin < right->begin ? -1 : 1;
    if (left->end != right->end)
        return left->end < right->end ? -1 : 1;
    return strcmp(left->name, right->name); /* so that the error is the same on every system */
}

/* The format allows no overlaps, no holes and no bytes after the last tensor. */
static aaclip_status check_claims(claim *claims, size_t count, uint64_t available)
{
    uint64_t reached = 0;
    if (count)
        qsort(claims, count, sizeof *claims, compare_claims);
    for (size_t i = 0; i < count; reached = claims[i++].end) {
        aaclip_status status = aac_cancel_look_at(i);
        if (status)
            return status;
        if (claims[i].begin < reached)
            return aac_error(AACLIP_ERROR_FORMAT, "%s: shares bytes with %s", claims[i].name,
                             claims[i - 1].name);
        if (claims[i].begin > reached)
            return aac_error(
                AACLIP_ERROR_FORMAT, "%s: data_offsets: expected to begin at %llu, found %llu",
                claims[i].name, (unsigned long long)reached, (unsigned long long)claims[i].begin);
    }
    if (reached != available)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "safetensors: expected %llu bytes of data for the tensors, found %llu",
                         (unsigned long long)reached, (unsigned long long)available);
    return AACLIP_OK;
}

static aaclip_status read_header(aac_tensor_index *index, json_t *root, const unsigned char *data,
                                 uint64_t available)
{
    const char *name;
    json_t *value;
    size_t count = 0;
    claim *claims = aac_alloc_array(json_object_size(root) + 1, sizeof *claims);
    aaclip_status status = claims ? AACLIP_OK : aac_error_memory();
    json_object_foreach(root, name, value)
    {
        if (status)
            break;
        if (strcmp(name, "__metadata__") == 0)
            status = read_metadata(index, value);
        else
            status = read_tensor(index, name, value, data, available, &claims[count++]);
    }
    if (!status)
        status = check_claims(claims, count, available);
    aac_free(claims);
    return status;
}

aaclip_status aac_safetensors_read(aac_tensor_index *index, const aac_mapping *file)
{
    uint64_t length = file->size < 8 ? 0 : aac_read_u64(file->data);
    if (file->size < 8 || length > file->size - 8)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "safetensors: header of %llu bytes in a file of %zu bytes",
                         (unsigned long long)length, file->size);
    if (length > AAC_LARGEST_HEADER)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "safetensors: header: expected at most %u bytes, found %llu",
                         AAC_LARGEST_HEADER, (unsigned long long)length);
    json_error_t error;
    json_t *root;
    aaclip_status status =
        aac_json_parse(&root, file->data + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (status)
        return status;
    if (!json_is_object(root)) {
        const bool parsed = root != NULL;
        json_decref(root);
        return aac_error(AACLIP_ERROR_FORMAT, "safetensors: header: %s",
                         parsed ? "expected an object" : error.text);
    }
    status = read_header(index, root, file->data + 8 + length, file->size - 8 - length);
    json_decref(root);
    return status;
}

static const char *format_name(aac_dtype dtype)
{
    size_t i = 0;
    while (dtypes[i].dtype != dtype)
        i++;
    return dtypes[i].name;
}

static uint64_t stored_bytes(const aac_tensor_source *source)
{
    return (uint64_t)aac_tensor_elements(&source->tensor) * aac_dtype_size(source->stored_as);
}

/* NULL, as of the next: out of memory. */
static json_t *describe_tensor(const aac_tensor_source *source, uint64_t begin)
{
    json_t *shape = json_array();
    int failed = 0;
    for (int i = 0; i < source->tensor.rank; i++)
        failed |= json_array_append_new(shape, json_integer(source->tensor.shape[i]));
    shape = aac_json_made(shape, failed);
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", format_name(source->stored_as), "shape",
                     shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + stored_bytes(source)));
}

static json_t *describe_metadata(const aac_metadata *metadata, size_t count)
{
    json_t *object = json_object();
    int failed = 0;
    for (size_t i = 0; i < count; i++)
        failed |= json_object_set_new(object, metadata[i].key, json_string(metadata[i].value));
    failed |= json_object_set_new(object, AAC_CHECKSUM_KEY, json_string(AAC_CHECKSUM_BLANK));
    return aac_json_made(object, failed);
}

/* Names come from the library or from a file; metadata may come from a pickle. */
static aaclip_status check_texts(const char *path, const aac_tensor_source *tensors,
                                 size_t tensor_count, const aac_metadata *metadata,
                                 size_t metadata_count)
{
    for (size_t i = 0; i < tensor_count; i++)
        if (!aac_utf8_is_valid(tensors[i].tensor.name))
            return aac_error(AACLIP_ERROR_FORMAT, "%s: name of tensor %zu: expected UTF-8", path,
                             i);
    for (size_t i = 0; i < metadata_count; i++)
        if (!aac_utf8_is_valid(metadata[i].value))
            return aac_error(AACLIP_ERROR_FORMAT, "%s: metadata %s: expected UTF-8", path,
                             metadata[i].key);
    return AACLIP_OK;
}

static aaclip_status make_header(char **header, const char *path, const aac_tensor_source *tensors,
                                 size_t tensor_count, const aac_metadata *metadata,
                                 size_t metadata_count)
{
    *header = NULL;
    aaclip_status status = check_texts(path, tensors, tensor_count, metadata, metadata_count);
    if (status)
        return status;
    json_t *root = json_object();
    uint64_t begin = 0;
    bool done =
        json_object_set_new(root, "__metadata__", describe_metadata(metadata, metadata_count)) == 0;
    for (size_t i = 0; done && i < tensor_count; i++) {
        done = json_object_set_new(root, tensors[i].tensor.name,
                                   describe_tensor(&tensors[i], begin)) == 0;
        begin += stored_bytes(&tensors[i]);
    }
    *header = done ? aac_json_text(root, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(root);
    return *header ? AACLIP_OK : aac_error_memory();
}

/* A file being written, and the checksum so far. */
typedef struct output {
    aac_writer *writer;
    uint32_t checksum;
} output;

static aaclip_status put(output *out, const void *data, size_t size)
{
    aaclip_status status = AACLIP_OK;
    for (size_t at = 0, some; !status && at < size; at += some) {
        some = size - at < MOST_AT_ONCE ? size - at : MOST_AT_ONCE;
        out->checksum = aac_checksum_add(out->checksum, (const char *)data + at, some);
        status = aac_writer_write(out->writer, (const char *)data + at, some);
    }
    return status;
}

/* Spaces after the header align the data to 64 bytes. */
static aaclip_status write_header(output *out, const char *header)
{
    const size_t alignment = 64;
    static const char spaces[64] =
        "                                                              "
        "  ";
    unsigned char length[8];
    size_t size = strlen(header), padding = (alignment - (size + 8) % alignment) % alignment;
    aac_write_u64(length, size + padding);
    aaclip_status status = put(out, length, sizeof length);
    if (!status)
        status = put(out, header, size);
    return status ? status : put(out, spaces, padding);
}

/* In place of the header's blank. */
static aaclip_status write_checksum(output *out, const char *header)
{
    char digits[AAC_CHECKSUM_DIGITS + 1];
    const size_t at = aac_checksum_find((const unsigned char *)header, strlen(header));
    snprintf(digits, sizeof digits, "%08x", (unsigned)out->checksum);
    return aac_writer_amend(out->writer, 8 + at, digits, AAC_CHECKSUM_DIGITS);
}

static void narrow_rows(const float *values, size_t count, aac_dtype dtype, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = dtype == AAC_F16 ? aac_f32_to_f16(values[i]) : aac_f32_to_bf16(values[i]);
}

/* Row by row via float32, for tensors not stored as they are. */
static aaclip_status write_converted(output *out, const aac_tensor_source *source)
{
    const aac_tensor *tensor = &source->tensor;
    int64_t elements = aac_tensor_elements(tensor), rows = tensor->rank ? tensor->shape[0] : 1;
    if (!elements)
        return AACLIP_OK;
    size_t columns = (size_t)(elements / rows), size = aac_dtype_size(source->stored_as);
    float *values = aac_alloc_array(columns, sizeof *values);
    uint16_t *narrow = aac_alloc_array(columns, sizeof *narrow);
    aaclip_status status = values && narrow ? AACLIP_OK : aac_error_memory();
    for (int64_t row = 0; !status && row < rows; row++) {
        if (tensor->rank)
            aac_tensor_rows_to_f32(tensor, row, 1, values);
        else
            aac_tensor_to_f32(tensor, values);
        bool wide = source->stored_as == AAC_F32;
        if (!wide)
            narrow_rows(values, columns, source->stored_as, narrow);
        status = put(out, wide ? (void *)values : (void *)narrow, columns * size);
    }
    aac_free(values);
    aac_free(narrow);
    return status;
}

static aaclip_status write_tensor(output *out, const aac_tensor_source *source)
{
    if (source->tensor.dtype == source->stored_as && aac_tensor_is_contiguous(&source->tensor))
        return put(out, source->tensor.data, (size_t)stored_bytes(source));
    return write_converted(out, source);
}

static aaclip_status check_sources(const aac_tensor_source *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool copied = tensors[i].tensor.dtype == tensors[i].stored_as &&
                      aac_tensor_is_contiguous(&tensors[i].tensor);
        bool floating = tensors[i].stored_as == AAC_F32 || tensors[i].stored_as == AAC_F16 ||
                        tensors[i].stored_as == AAC_BF16;
        if (!copied && !floating)
            return aac_error(AACLIP_ERROR_UNSUPPORTED, "%s: cannot be stored as %s",
                             tensors[i].tensor.name, aac_dtype_name(tensors[i].stored_as));
    }
    return AACLIP_OK;
}

aaclip_status aac_safetensors_write(const char *path, const aac_tensor_source *tensors,
                                    size_t tensor_count, const aac_metadata *metadata,
                                    size_t metadata_count)
{
    output out = {0};
    aaclip_status status = check_sources(tensors, tensor_count);
    if (status)
        return status;
    char *header = NULL;
    status = make_header(&header, path, tensors, tensor_count, metadata, metadata_count);
    if (!status)
        status = aac_writer_open(&out.writer, path);
    if (!status)
        status = write_header(&out, header);
    for (size_t i = 0; !status && i < tensor_count; i++)
        status = write_tensor(&out, &tensors[i]);
    if (!status)
        status = write_checksum(&out, header);
    aac_free(header);
    if (!out.writer)
        return status;
    if (!status)
        return aac_writer_commit(&out.writer);
    aac_writer_discard(&out.writer);
    return status;
}
