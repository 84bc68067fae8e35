/* Any bytes as merges and vocab.json: what opens encodes a text. */
#include "../fuzz.h"

#include <stdio.h>

#include "../scratch.h"
#include "check_ids.h"
#include "core/memory.h"

#define MOST_TEXT 128 /* bytes; fuzz_tokenizer.c has longer ones */

/* Input: three little-endian 16-bit numbers - merges, bytes of text, bytes of JSON - and the rest.
 */
#define HEADER_SIZE 6

static size_t number_at(const uint8_t *data)
{
    return (size_t)data[0] | (size_t)data[1] << 8;
}

/* Takes `wanted` bytes off the front, or what is left. */
static const uint8_t *take(const uint8_t **data, size_t *size, size_t *wanted)
{
    const uint8_t *taken = *data;
    if (*wanted > *size)
        *wanted = *size;
    *data += *wanted;
    *size -= *wanted;
    return taken;
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
        check_ids(tokenizer, text, text_size < MOST_TEXT ? text_size : MOST_TEXT, limit);
    aac_tokenizer_close(&tokenizer);
}
