#include "core/utf8.h"
#include "files/torch_writer.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "files/bytes.h"
#include "files/pickle_opcodes.h"
#include "files/zip_writer.h"

#define PROTOCOL        2
#define DEEPEST_NESTING 64 /* the reader's limit, too */

/* A container that is still open. */
struct frame {
    aac_torch_container container;
    size_t count;
};

struct aac_torch_writer {
    aac_zip_writer *zip;
    aaclip_status status;
    unsigned char *pickle;
    size_t size, capacity;
    struct frame frames[DEEPEST_NESTING];
    int depth;
    bool has_root;
    int64_t storage_count;
};

static void fail(aac_torch_writer *writer, aaclip_status status)
{
    if (!writer->status)
        writer->status = status;
}

static void misplaced(aac_torch_writer *writer, const char *what)
{
    fail(writer, aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "torch archive: %s", what));
}

static void put(aac_torch_writer *writer, const void *bytes, size_t size)
{
    if (writer->status)
        return;
    if (size > writer->capacity - writer->size) {
        size_t larger = 2 * (writer->size + size) + 1024;
        unsigned char *moved = aac_realloc(writer->pickle, larger);
        if (!moved) {
            fail(writer, aac_error_memory());
            return;
        }
        writer->pickle = moved;
        writer->capacity = larger;
    }
    memcpy(writer->pickle + writer->size, bytes, size);
    writer->size += size;
}

static void put_opcode(aac_torch_writer *writer, enum opcode opcode)
{
    const unsigned char byte = (unsigned char)opcode;
    put(writer, &byte, 1);
}

static void put_integer(aac_torch_writer *writer, int64_t value)
{
    unsigned char bytes[10] = {OP_LONG1, 8};
    size_t size = sizeof bytes;
    aac_write_u64(bytes + 2, (uint64_t)value);
    if (value >= 0 && value <= UINT8_MAX) {
        bytes[0] = OP_BININT1;
        size = 1 + 1;
    } else if (value >= 0 && value <= UINT16_MAX) {
        bytes[0] = OP_BININT2;
        size = 1 + 2;
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        bytes[0] = OP_BININT;
        size = 1 + 4;
    }
    if (size < sizeof bytes) /* the low bytes without LONG1's length before them */
        memmove(bytes + 1, bytes + 2, size - 1);
    put(writer, bytes, size);
}

static void put_text(aac_torch_writer *writer, const char *text, size_t length)
{
    unsigned char header[5] = {OP_BINUNICODE};
    aac_write_u32(header + 1, (uint32_t)length);
    put(writer, header, sizeof header);
    put(writer, text, length);
}

static void put_word(aac_torch_writer *writer, const char *word)
{
    put_text(writer, word, strlen(word));
}

/* `lines`: module and name, each ending in a newline. */
static void put_global(aac_torch_writer *writer, const char *lines)
{
    put_opcode(writer, OP_GLOBAL);
    put(writer, lines, strlen(lines));
}

static void put_empty_ordered_dict(aac_torch_writer *writer)
{
    put_global(writer, "collections\nOrderedDict\n");
    put_opcode(writer, OP_EMPTY_TUPLE);
    put_opcode(writer, OP_REDUCE);
}

/* Counts a value about to be written; false if it is not allowed there. */
static bool place(aac_torch_writer *writer, bool may_be_key)
{
    if (writer->status)
        return false;
    struct frame *frame = writer->depth ? &writer->frames[writer->depth - 1] : NULL;
    bool dict = frame && frame->container <= AAC_TORCH_ORDERED_DICT;
    if (!frame && writer->has_root)
        misplaced(writer, "expected one value, found a second");
    else if (dict && frame->count % 2 == 0 && !may_be_key)
        misplaced(writer, "expected a string or an integer as a dict key");
    else if (frame)
        frame->count++;
    writer->has_root = true;
    return !writer->status;
}

aaclip_status aac_torch_writer_open(aac_torch_writer **out, const char *path)
{
    *out = NULL;
    aac_torch_writer *writer = aac_calloc(1, sizeof *writer);
    if (!writer)
        return aac_error_memory();
    aaclip_status status = aac_zip_writer_open(&writer->zip, path);
    if (status)
        aac_torch_writer_discard(&writer);
    else
        put(writer, (const unsigned char[]){OP_PROTO, PROTOCOL}, 2);
    *out = writer;
    return status;
}

void aac_torch_begin(aac_torch_writer *writer, aac_torch_container container)
{
    if (!place(writer, false))
        return;
    if (writer->depth == DEEPEST_NESTING) {
        misplaced(writer, "expected at most 64 nested containers");
        return;
    }
    writer->frames[writer->depth++] = (struct frame){container, 0};
    if (container == AAC_TORCH_DICT)
        put_opcode(writer, OP_EMPTY_DICT);
    else if (container == AAC_TORCH_ORDERED_DICT)
        put_empty_ordered_dict(writer);
    else if (container == AAC_TORCH_LIST)
        put_opcode(writer, OP_EMPTY_LIST);
    put_opcode(writer, OP_MARK);
}

void aac_torch_end(aac_torch_writer *writer)
{
    static const enum opcode closing[] = {
        [AAC_TORCH_DICT] = OP_SETITEMS,
        [AAC_TORCH_ORDERED_DICT] = OP_SETITEMS,
        [AAC_TORCH_LIST] = OP_APPENDS,
        [AAC_TORCH_TUPLE] = OP_TUPLE,
    };
    if (writer->status)
        return;
    if (!writer->depth) {
        misplaced(writer, "end without begin");
        return;
    }
    const struct frame *frame = &writer->frames[--writer->depth];
    if (frame->container <= AAC_TORCH_ORDERED_DICT && frame->count % 2)
        misplaced(writer, "a dict key without a value");
    put_opcode(writer, closing[frame->container]);
}

void aac_torch_none(aac_torch_writer *writer)
{
    if (place(writer, false))
        put_opcode(writer, OP_NONE);
}

void aac_torch_boolean(aac_torch_writer *writer, bool value)
{
    if (place(writer, false))
        put_opcode(writer, value ? OP_NEWTRUE : OP_NEWFALSE);
}

void aac_torch_integer(aac_torch_writer *writer, int64_t value)
{
    if (place(writer, true))
        put_integer(writer, value);
}

void aac_torch_number(aac_torch_writer *writer, double value)
{
    unsigned char bytes[9] = {OP_BINFLOAT};
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++) /* the only big-endian argument */
        bytes[1 + i] = (unsigned char)(bits >> (56 - 8 * i));
    if (place(writer, false))
        put(writer, bytes, sizeof bytes);
}

void aac_torch_text(aac_torch_writer *writer, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    if (!place(writer, true))
        return;
    if (!text)
        fail(writer, aac_error_memory());
    else if (length > UINT32_MAX || !aac_utf8_is_valid(text))
        misplaced(writer, "a string that is not UTF-8 or is longer than 4 GB");
    else
        put_text(writer, text, length);
}

static void put_extents(aac_torch_writer *writer, const int64_t *extents, int rank)
{
    put_opcode(writer, OP_MARK);
    for (int i = 0; i < rank; i++)
        put_integer(writer, extents[i]);
    put_opcode(writer, OP_TUPLE);
}

/* ("storage", torch.FloatStorage, key, "cpu", elements) */
static void put_storage(aac_torch_writer *writer, const char *key, int64_t elements)
{
    put_opcode(writer, OP_MARK);
    put_word(writer, "storage");
    put_global(writer, "torch\nFloatStorage\n");
    put_word(writer, key);
    put_word(writer, "cpu");
    put_integer(writer, elements);
    put_opcode(writer, OP_TUPLE);
    put_opcode(writer, OP_BINPERSID);
}

/* _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, backward_hooks) */
static void put_view(aac_torch_writer *writer, const char *key, const aac_tensor *tensor)
{
    int64_t strides[AAC_MAX_RANK], stride = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= tensor->shape[i] ? tensor->shape[i] : 1;
    }
    put_global(writer, "torch._utils\n_rebuild_tensor_v2\n");
    put_opcode(writer, OP_MARK);
    put_storage(writer, key, aac_tensor_elements(tensor));
    put_integer(writer, 0);
    put_extents(writer, tensor->shape, tensor->rank);
    put_extents(writer, strides, tensor->rank);
    put_opcode(writer, OP_NEWFALSE);
    put_empty_ordered_dict(writer);
    put_opcode(writer, OP_TUPLE);
    put_opcode(writer, OP_REDUCE);
}

static aaclip_status store(aac_zip_writer *zip, const char *key, const aac_tensor *tensor)
{
    char name[64];
    snprintf(name, sizeof name, "archive/data/%s", key);
    size_t elements = (size_t)aac_tensor_elements(tensor);
    if (tensor->dtype == AAC_F32 && aac_tensor_is_contiguous(tensor))
        return aac_zip_writer_add(zip, name, tensor->data, elements * sizeof(float));
    float *values = aac_alloc_array(elements, sizeof *values);
    if (!values)
        return aac_error_memory();
    aac_tensor_to_f32(tensor, values);
    aaclip_status status = aac_zip_writer_add(zip, name, values, elements * sizeof *values);
    aac_free(values);
    return status;
}

void aac_torch_tensor(aac_torch_writer *writer, const aac_tensor *tensor)
{
    char key[24];
    if (!place(writer, false))
        return;
    snprintf(key, sizeof key, "%lld", (long long)writer->storage_count++);
    put_view(writer, key, tensor);
    if (!writer->status)
        fail(writer, store(writer->zip, key, tensor));
}

static void writer_free(aac_torch_writer **writer)
{
    aac_free((*writer)->pickle);
    aac_free(*writer);
    *writer = NULL;
}

aaclip_status aac_torch_writer_commit(aac_torch_writer **out)
{
    aac_torch_writer *writer = *out;
    if (!writer->status && (writer->depth || !writer->has_root))
        misplaced(writer, "expected one complete value");
    put_opcode(writer, OP_STOP);
    aaclip_status status = writer->status;
    if (!status)
        status = aac_zip_writer_add(writer->zip, "archive/data.pkl", writer->pickle, writer->size);
    if (!status)
        status = aac_zip_writer_add(writer->zip, "archive/byteorder", "little", 6);
    if (!status)
        status = aac_zip_writer_add(writer->zip, "archive/version", "3\n", 2);
    if (!status)
        status = aac_zip_writer_commit(&writer->zip);
    else
        aac_zip_writer_discard(&writer->zip);
    writer_free(out);
    return status;
}

void aac_torch_writer_discard(aac_torch_writer **writer)
{
    if (!*writer)
        return;
    aac_zip_writer_discard(&(*writer)->zip);
    writer_free(writer);
}
