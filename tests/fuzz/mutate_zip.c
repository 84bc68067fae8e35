/* Mutates one entry of a zip archive and rewrites the archive with valid checksums. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/files/zip_builder.h"
#include "files/zip.h"
#include "mutate.h"

#define MOST_BYTES (1 << 15) /* of all entries and of the mutated one: the builder's capacity */

static bool fits_builder(const aac_zip *zip)
{
    size_t contents = 0, names = 0;
    for (size_t i = 0; i < zip->count; i++) {
        if (zip->entries[i].stored_size > MOST_BYTES)
            return false;
        contents += (size_t)zip->entries[i].stored_size + LOCAL_NAME;
        names += strlen(zip->entries[i].name) + CENTRAL_NAME;
    }
    return contents + 2 * names < MOST_BYTES / 2 && 2 * names < 1 << 14;
}

/* Mostly the pickle, which refers to all the others. */
static size_t choose(const aac_zip *zip, unsigned seed)
{
    size_t pickle = 0;
    while (pickle < zip->count && !strstr(zip->entries[pickle].name, "/data.pkl"))
        pickle++;
    return pickle < zip->count && seed % 4 ? pickle : seed / 4 % zip->count;
}

static void rebuild(zip_builder *builder, const aac_zip *zip, size_t chosen)
{
    static uint8_t mutated[MOST_BYTES / 2];
    for (size_t i = 0; i < zip->count; i++) {
        const aac_zip_entry *entry = &zip->entries[i];
        const uint8_t *data = entry->data;
        size_t size = (size_t)entry->stored_size;
        if (i == chosen) {
            memcpy(mutated, data, size);
            size = LLVMFuzzerMutate(mutated, size, sizeof mutated);
            data = mutated;
        }
        zip_builder_add(builder, entry->name, data, size);
    }
    zip_builder_finish(builder);
}

size_t fuzz_mutate_zip(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    aac_zip zip;
    zip_builder *builder = NULL;
    size_t mutated = 0;
    if (size < 4 || memcmp(data, "PK\3\4", 4) != 0)
        return 0;
    if (aac_zip_read(&zip, data, size) == AACLIP_OK && zip.count && fits_builder(&zip))
        builder = calloc(1, sizeof *builder);
    if (builder) {
        rebuild(builder, &zip, choose(&zip, seed));
        mutated = builder->size <= capacity ? builder->size : 0;
        memcpy(data, builder->bytes, mutated);
    }
    free(builder);
    aac_zip_clear(&zip);
    return mutated;
}
