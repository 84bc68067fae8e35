/*
 * Changes a file of packed weights and gives it to the model. Such a file depends on this build,
 * this processor and the source's modification time, so the target packs one itself and the input
 * says what to change in it. Whatever the result, the model must get its weights, and detect with
 * them unless everything was packed again and is known to equal the original.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <aaclip/aaclip.h>

#include "../unit/files/tensor_list.h"
#include "core/memory.h"
#include "core/platform.h"
#include "fuzz.h"
#include "model/model.h"
#include "scratch.h"
#include "system.h"
#include "tiny_model.h"

typedef struct packed_case {
    const char *backend;
    aaclip_precision precision;
    aaclip_model *model;
    aaclip_text_cache *cache;
    char *folder, *path; /* of the packed file */
    uint8_t *bytes;      /* as written by the library */
    size_t size;
} packed_case;

static packed_case cases[] = {
    {.backend = "onednn", .precision = AACLIP_PRECISION_F32},
    {.backend = "onednn", .precision = AACLIP_PRECISION_INT8},
    {.backend = "blas", .precision = AACLIP_PRECISION_F32},
    {.backend = "blas", .precision = AACLIP_PRECISION_INT8},
};

static char *source; /* path of the model */

static void must(aaclip_status status)
{
    if (!status)
        return;
    fprintf(stderr, "%s\n", aaclip_last_error());
    abort();
}

/* In a layout that splits query, key and value, so that every backend has parts to join. */
static void write_source(void)
{
    static const clip_sizes sizes = {
        .width = 4,
        .layers = 2,
        .mlp = 2,
        .patch = 1,
        .grid = TINY_SIDE,
        .embedding = TINY_EMBEDDING,
        .text_width = 2,
        .text_layers = 1,
        .text_mlp = 2,
        .context = 4,
        .vocabulary = 8,
    };
    tensor_list clip = {.value = 0.5f};
    tensor_list_huggingface(&clip, &sizes);
    source = tensor_list_write(&clip, fuzz_folder(), "split.safetensors", NULL, 0);
}

static void open_model(packed_case *packed)
{
    static const float normal[TINY_EMBEDDING] = {1, 0, 0}, abnormal[TINY_EMBEDDING] = {0, .6f, .8f};
    aaclip_model_options options;
    aaclip_model_options_init(&options);
    options.backend = packed->backend;
    options.precision = packed->precision;
    options.packed_folder = packed->folder;
    options.threads = 1;
    must(aaclip_model_open(&packed->model, source, &options));
    must(aaclip_text_cache_new(&packed->cache, packed->model, NULL, NULL));
    must(aaclip_text_cache_add(packed->cache, "class", normal, abnormal));
}

/* From the file, or packed again. */
static void take_weights(const packed_case *packed)
{
    const aac_vision_tower *tower;
    must(aac_model_acquire_vision(packed->model, true, &tower));
}

static void forget_weights(const packed_case *packed)
{
    const aac_vision_tower *tower;
    aac_model_release_vision(packed->model, true);
    must(aac_model_acquire_vision(packed->model, false, &tower)); /* frees the blocks */
    aac_model_release_vision(packed->model, false);
}

static void forget_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aaclip_text_cache_close(&cases[i].cache);
        aaclip_model_close(&cases[i].model);
        aac_free(cases[i].folder);
        aac_free(cases[i].path);
        free(cases[i].bytes);
    }
    aac_free(source);
}

static void make_case(packed_case *packed)
{
    char **names;
    size_t count;
    if (!aaclip_backend_available(packed->backend))
        return;
    packed->folder = aac_format("%s/packed-%zu", fuzz_folder(), (size_t)(packed - cases));
    if (system_make_folder(packed->folder))
        abort();
    open_model(packed);
    take_weights(packed);
    must(tiny_detect(packed->model, NULL, packed->cache, "class"));
    forget_weights(packed);
    must(aac_list_folder(&names, &count, packed->folder));
    if (count != 1)
        abort();
    packed->path = aac_format("%s/%s", packed->folder, names[0]);
    packed->bytes = fuzz_read(packed->path, &packed->size);
    aac_list_free(names, count);
}

static void make_cases(void)
{
    if (source)
        return;
    write_source();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        make_case(&cases[i]);
    atexit(forget_cases);
}

/* The file being changed: header length, header and data. */
typedef struct changed_file {
    uint8_t *bytes;
    size_t size, capacity;
} changed_file;

static void resize_header(changed_file *file, size_t at, int64_t difference)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | file->bytes[i];
    if (at < 8 || at > 8 + length)
        return;
    length += (uint64_t)difference;
    for (int i = 0; i < 8; i++)
        file->bytes[i] = (uint8_t)(length >> 8 * i);
}

enum { OVERWRITE, INSERT, DELETE, CHANGES };

static void change(changed_file *file, int kind, size_t at, const uint8_t *bytes, size_t count)
{
    at %= file->size + 1;
    size_t tail = file->size - at;
    if (kind != INSERT && count > tail)
        count = tail;
    if (kind == INSERT && count > file->capacity - file->size)
        return;
    if (kind == INSERT)
        memmove(file->bytes + at + count, file->bytes + at, tail);
    if (kind == DELETE)
        memmove(file->bytes + at, file->bytes + at + count, tail - count);
    else if (count)
        memcpy(file->bytes + at, bytes, count);
    if (kind == OVERWRITE)
        return;
    file->size += kind == INSERT ? count : 0 - count;
    if (file->size >= 8)
        resize_header(file, at, kind == INSERT ? (int64_t)count : -(int64_t)count);
}

static changed_file change_all(const packed_case *packed, const uint8_t *data, size_t size)
{
    changed_file file = {.size = packed->size, .capacity = packed->size + size};
    file.bytes = malloc(file.capacity);
    if (!file.bytes)
        abort();
    memcpy(file.bytes, packed->bytes, packed->size);
    while (size >= 4) {
        int kind = data[0] % CHANGES;
        size_t at = (size_t)data[1] | (size_t)data[2] << 8, count = data[3];
        data += 4;
        size -= 4;
        size_t taken = kind == DELETE ? 0 : count < size ? count : size;
        change(&file, kind, at, data, kind == DELETE ? count : taken);
        data += taken;
        size -= taken;
    }
    return file;
}

static ino_t number_of(const char *path)
{
    struct stat info;
    if (stat(path, &info))
        abort();
    return info.st_ino;
}

static void write_file(const char *path, const changed_file *file)
{
    FILE *stream = fopen(path, "wb");
    if (!stream || fwrite(file->bytes, 1, file->size, stream) != file->size || fclose(stream) != 0)
        abort();
}

static bool is_as_packed(const packed_case *packed, const uint8_t *bytes, size_t size)
{
    return size == packed->size && memcmp(bytes, packed->bytes, size) == 0;
}

/* Packed again, with the original bytes. */
static bool is_replaced(const packed_case *packed, ino_t before)
{
    if (number_of(packed->path) == before)
        return false;
    size_t size;
    uint8_t *bytes = fuzz_read(packed->path, &size);
    bool same = is_as_packed(packed, bytes, size);
    free(bytes);
    return same;
}

static void try_file(const packed_case *packed, const changed_file *file)
{
    write_file(packed->path, file);
    ino_t before = number_of(packed->path);
    take_weights(packed);
    if (is_as_packed(packed, file->bytes, file->size) && number_of(packed->path) != before) {
        fprintf(stderr, "%s: a file without a change was packed again\n", packed->path);
        abort();
    }
    if (!is_replaced(packed, before))
        must(tiny_detect(packed->model, NULL, packed->cache, "class"));
    forget_weights(packed);
}

/* Input: a byte for backend and precision, then changes: kind, place (2 bytes), count, bytes. */
void fuzz_one(const uint8_t *data, size_t size)
{
    make_cases();
    const packed_case *packed = size ? &cases[*data % (sizeof cases / sizeof *cases)] : cases;
    if (!packed->path)
        return;
    changed_file file = change_all(packed, data + !!size, size - !!size);
    try_file(packed, &file);
    free(file.bytes);
}
