/* Any bytes as merges and vocab.json, and any text: opening and encoding must end well or clearly.
 */
#include "../fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "core/memory.h"
#include "text/tokenizer.h"

#define BYTE_TOKENS 514
#define CONTEXT     77

/* Input: three little-endian 16-bit numbers - merges, bytes of text, bytes of JSON - and the rest.
 */
#define HEADER_SIZE 6

static size_t number_at(const uint8_t *data)
{
    return (size_t)data[0] | (size_t)data[1] << 8;
}

/* Cuts `wanted` bytes off the front, or what is left. */
static const uint8_t *take(const uint8_t **data, size_t *size, size_t *wanted)
{
    const uint8_t *taken = *data;
    if (*wanted > *size)
        *wanted = *size;
    *data += *wanted;
    *size -= *wanted;
    return taken;
}

static void check_ids(const int32_t *ids, size_t count, int32_t limit)
{
    if (count < 2 || count > CONTEXT)
        abort();
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= limit)
            abort();
}

static void encode(const aac_tokenizer *tokenizer, const uint8_t *bytes, size_t size, int32_t limit)
{
    int32_t ids[CONTEXT];
    size_t count;
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, bytes, size);
    text[size] = '\0';
    if (aac_tokenizer_encode(tokenizer, text, true, ids, CONTEXT, &count) == AACLIP_OK) {
        check_ids(ids, count, limit);
        /* What was cut, or just fits: only there the way without cutting is another. */
        if (count == CONTEXT &&
            aac_tokenizer_encode(tokenizer, text, false, ids, CONTEXT, &count) == AACLIP_OK)
            check_ids(ids, count, limit);
    }
    free(text);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    if (size < HEADER_SIZE)
        return;
    size_t merges = number_at(data), text_size = number_at(data + 2),
           json_size = number_at(data + 4);
    data += HEADER_SIZE;
    size -= HEADER_SIZE;
    const uint8_t *text = take(&data, &size, &text_size);
    const uint8_t *json = take(&data, &size, &json_size);
    aac_free(fuzz_write("merges.txt", data, size));
    char *json_path = fuzz_write("vocab.json", json, json_size);
    if (!json_size)
        remove(json_path);
    aac_free(json_path);
    aac_tokenizer *tokenizer;
    int32_t limit = (int32_t)(BYTE_TOKENS + merges);
    if (aac_tokenizer_open(&tokenizer, fuzz_folder(), limit) == AACLIP_OK)
        encode(tokenizer, text, text_size, limit);
    aac_tokenizer_close(&tokenizer);
}
