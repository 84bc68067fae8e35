#include "model/packed.h"

#include <stdio.h>
#include <string.h>

#include <aaclip/version.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/platform.h"
#include "model/fingerprint.h"
#include "model/save.h"

#define FORMAT     "1" /* incremented when older files must not be read */
#define NAME_SIZE  256
#define MOST_STEM  80 /* bytes of the source's name in the file name */
#define ORIGIN_KEY "aaclip.packed_from"

/* Models of the same name in different folders have different files. */
static char *make_path(const aac_packer_setup *setup)
{
    const char *source = aac_tensor_file_path(setup->source);
    char *resolved = aac_path_resolve(source);
    const char *whole = resolved ? resolved : source;
    aac_fingerprint key = aac_fingerprint_start();
    aac_fingerprint_bytes(&key, whole, strlen(whole));
    char *path = aac_format("%s/%.*s-%016llx.%s-%s-%s.packed", setup->folder, MOST_STEM,
                            aac_path_name(source), (unsigned long long)key.value, setup->part,
                            setup->dispatch->chain[0]->name, setup->precision);
    aac_free(resolved);
    return path;
}

static char *make_origin(const aac_packer_setup *setup)
{
    return aac_format("libaaclip %s, %s: %zu bytes of %lld, weights %016llx",
                      aaclip_version_string(), setup->part, aac_tensor_file_size(setup->source),
                      (long long)aac_tensor_file_changed(setup->source),
                      (unsigned long long)setup->fingerprint);
}

static bool is_current(const aac_tensor_file *file, const char *origin)
{
    const char *format = aac_tensor_file_string(file, "aaclip.packed");
    const char *found = aac_tensor_file_string(file, ORIGIN_KEY);
    if (format && found && strcmp(format, FORMAT) == 0 && strcmp(found, origin) == 0)
        return true;
    aac_log(AACLIP_LOG_DEBUG, "%s: packed from %s, expected %s", aac_tensor_file_path(file),
            found ? found : "something else", origin);
    return false;
}

/* Errors that are not about the packed file, without which one can go on. */
static bool is_grave(aaclip_status status)
{
    return status == AACLIP_ERROR_OUT_OF_MEMORY || status == AACLIP_ERROR_CANCELLED;
}

/* *file is NULL if there is no current one. */
static aaclip_status open_file(const aac_packer *packer, aac_tensor_file **file)
{
    const aac_error_text before = aac_error_keep();
    aaclip_status status = aac_tensor_file_open(file, packer->path);
    if (is_grave(status))
        return status;
    if (status && status != AACLIP_ERROR_NOT_FOUND)
        aac_log(AACLIP_LOG_WARNING, "%s", aaclip_last_error());
    aac_error_restore(&before);
    if (*file && !is_current(*file, packer->origin))
        aac_tensor_file_close(file);
    if (*file)
        aac_tensor_file_prefetch(*file);
    return AACLIP_OK;
}

aaclip_status aac_packer_open(aac_packer *packer, const aac_packer_setup *setup)
{
    *packer = (aac_packer){.dispatch = setup->dispatch};
    if (!setup->folder)
        return AACLIP_OK;
    packer->path = make_path(setup);
    packer->origin = make_origin(setup);
    return packer->path && packer->origin ? open_file(packer, &packer->file) : aac_error_memory();
}

static void piece_name(char *name, const aac_packed_entry *entry, int piece)
{
    snprintf(name, NAME_SIZE, "%zu.%.200s.%d", entry->number, entry->tensor, piece);
}

static void layout_name(char *name, const aac_packed_entry *entry)
{
    snprintf(name, NAME_SIZE, "%zu.layout", entry->number);
}

static bool find_piece(const aac_tensor_file *file, const aac_packed_entry *entry,
                       aac_weight_image *image)
{
    char name[NAME_SIZE];
    piece_name(name, entry, image->count);
    const aac_tensor *found = aac_tensor_file_find(file, name);
    if (!found || found->dtype != AAC_U8 || found->rank != 1)
        return false;
    image->pieces[image->count].data = found->data;
    image->pieces[image->count++].size = (size_t)found->shape[0];
    return true;
}

/* *weight is NULL if the file has none that fits. */
static aaclip_status take(const aac_packer *packer, const aac_tensor_file *file,
                          const aac_packed_entry *entry, aac_weight **weight)
{
    char name[NAME_SIZE];
    aac_weight_image image = {0};
    layout_name(name, entry);
    const char *layout = aac_tensor_file_string(file, name);
    *weight = NULL;
    const size_t length = layout ? strlen(layout) : sizeof image.layout;
    if (length >= sizeof image.layout)
        return AACLIP_OK;
    memcpy(image.layout, layout, length);
    while (image.count < AAC_WEIGHT_PIECES && find_piece(file, entry, &image))
        continue;
    return aac_dispatch_adopt(packer->dispatch, weight, &entry->desc, &image);
}

static aaclip_status remember(aac_packer *packer, const aac_packed_entry *entry)
{
    aac_packed_entry *entries =
        aac_grow(packer->entries, &packer->capacity, packer->count + 1, sizeof *entries);
    if (!entries)
        return aac_error_memory();
    packer->entries = entries;
    entries[packer->count++] = *entry;
    return AACLIP_OK;
}

aaclip_status aac_packer_pack(aac_packer *packer, aac_weight **weight, const aac_tensor *parts,
                              const aac_tensor *bias_parts, int part_count, aac_dtype type)
{
    if (!packer->path)
        return aac_dispatch_repack(packer->dispatch, weight, parts, bias_parts, part_count, type);
    const aac_packed_entry entry = {
        .slot = weight,
        .desc = aac_dispatch_describe(parts, bias_parts, part_count, type),
        .tensor = parts[0].name,
        .number = packer->number++,
    };
    aac_weight_image image;
    aaclip_status status = AACLIP_OK;
    *weight = NULL;
    if (packer->file)
        status = take(packer, packer->file, &entry, weight);
    packer->reads_file |= *weight != NULL;
    if (!status && !*weight) {
        status = aac_dispatch_pack(packer->dispatch, weight, parts, bias_parts, part_count, type);
        if (!status && !aac_weight_get_image(*weight, &image))
            return AACLIP_OK;
        packer->incomplete = true;
    }
    return status ? status : remember(packer, &entry);
}

/* Pads to a multiple of the alignment, so that the next piece is also aligned. */
static aaclip_status save_piece(aac_save_list *list, const char *name, const void *data,
                                size_t size)
{
    size_t padded = aac_align(size);
    aac_tensor tensor = {
        .dtype = AAC_U8, .rank = 1, .shape = {(int64_t)padded}, .stride = {1}, .data = data};
    if (padded != size) {
        void *copy = aac_calloc(1, padded);
        aaclip_status status = aac_save_keep(list, copy);
        if (status)
            return status;
        tensor.data = memcpy(copy, data, size);
    }
    return aac_save_tensor(list, name, &tensor, AAC_U8);
}

static aaclip_status save_entry(aac_save_list *list, const aac_packed_entry *entry)
{
    char name[NAME_SIZE];
    aac_weight_image image;
    aac_weight_get_image(*entry->slot, &image);
    layout_name(name, entry);
    aaclip_status status = aac_save_text(list, name, image.layout);
    for (int i = 0; !status && i < image.count; i++) {
        piece_name(name, entry, i);
        status = save_piece(list, name, image.pieces[i].data, image.pieces[i].size);
    }
    return status;
}

static aaclip_status write_file(const aac_packer *packer)
{
    aac_save_list list = {0};
    aaclip_status status = aac_save_text(&list, "aaclip.packed", FORMAT);
    if (!status)
        status = aac_save_text(&list, ORIGIN_KEY, packer->origin);
    for (size_t i = 0; !status && i < packer->count; i++)
        status = save_entry(&list, &packer->entries[i]);
    if (!status)
        status = aac_save_write(&list, packer->path);
    aac_save_clear(&list);
    return status;
}

/* Replaces all weights by those of one file, or none: *moved tells. */
static aaclip_status move_to(const aac_packer *packer, const aac_tensor_file *file, bool *moved)
{
    aac_weight **taken = aac_calloc(packer->count, sizeof(aac_weight *));
    aaclip_status status = taken ? AACLIP_OK : aac_error_memory();
    size_t count = 0;
    while (!status && count < packer->count) {
        status = take(packer, file, &packer->entries[count], &taken[count]);
        if (!taken[count])
            break;
        count++;
    }
    *moved = !status && count == packer->count;
    for (size_t i = 0; i < count; i++) {
        aac_weight **slot = *moved ? packer->entries[i].slot : &taken[i];
        aac_weight_free(slot);
        if (*moved)
            *slot = taken[i];
    }
    aac_free(taken);
    return status;
}

/* Uses the file now at the path, if it has all weights. */
static aaclip_status move_to_current(aac_packer *packer, bool *moved)
{
    aac_tensor_file *file = NULL;
    *moved = false;
    aaclip_status status = open_file(packer, &file);
    if (file)
        status = move_to(packer, file, moved);
    if (*moved) {
        aac_tensor_file_close(&packer->file);
        packer->file = file;
        aac_release_freed(); /* as much as the file has */
    } else {
        aac_tensor_file_close(&file);
    }
    return status;
}

/* Another process may have written the file first. */
static aaclip_status complete(aac_packer *packer)
{
    bool moved;
    const aac_error_text before = aac_error_keep();
    aaclip_status status = move_to_current(packer, &moved);
    if (status || moved)
        return status;
    if (!packer->reads_file) /* on Windows a mapped file cannot be replaced */
        aac_tensor_file_close(&packer->file);
    status = write_file(packer);
    if (status && !is_grave(status)) {
        aac_log(AACLIP_LOG_WARNING, "packed weights were not saved: %s", aaclip_last_error());
        aac_error_restore(&before);
        return AACLIP_OK;
    }
    return status ? status : move_to_current(packer, &moved);
}

aaclip_status aac_packer_finish(aac_packer *packer, aac_tensor_file **kept)
{
    aaclip_status status = AACLIP_OK;
    if (packer->incomplete)
        status = complete(packer);
    *kept = packer->file;
    packer->file = NULL;
    return status;
}

void aac_packer_close(aac_packer *packer)
{
    aac_tensor_file_close(&packer->file);
    aac_free(packer->entries);
    aac_free(packer->path);
    aac_free(packer->origin);
    *packer = (aac_packer){0};
}
