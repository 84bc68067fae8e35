/* Feeds bytes as the pickle of an otherwise valid archive, whose checksum would stop a fuzzer. */
#include <stdlib.h>

#include "../unit/files/zip_builder.h"
#include "fuzz.h"
#include "touching_index.h"

#define RECORDS 4

void fuzz_one(const uint8_t *data, size_t size)
{
    static const unsigned char record[96];
    static const char *const names[RECORDS] = {"r/data/0", "r/data/1", "r/data/2", "r/data/3"};
    zip_builder *zip = calloc(1, sizeof *zip);
    if (!zip || size > sizeof zip->bytes / 2) {
        free(zip);
        return;
    }
    zip_builder_add(zip, "r/data.pkl", data, size);
    for (int i = 0; i < RECORDS; i++)
        zip_builder_add(zip, names[i], record, sizeof record);
    zip_builder_finish(zip);
    aac_tensor_index index = {0};
    aac_tensor_file_kind kind;
    const aac_mapping file = {.data = zip->bytes, .size = zip->size};
    aac_torch_read(&index, &file, &kind);
    free(zip);
}
