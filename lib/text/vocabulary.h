/* Reads a byte-pair vocabulary: OpenAI's gzipped list of merges or merges.txt with vocab.json. */
#ifndef AAC_TEXT_VOCABULARY_H
#define AAC_TEXT_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

#include "text/symbols.h"

/* Symbols: 256 bytes, the same at the end of a word, then one per merge, by rank. */
#define AAC_BYTE_SYMBOLS 512

typedef struct aac_vocabulary {
    int32_t byte_symbol[256]; /* + 256 at the end of a word */
    aac_pair_table merges;    /* an earlier merge has a smaller symbol */
    int32_t *ids;             /* of every symbol */
    int32_t start_id, end_id; /* of <|startoftext|> and <|endoftext|> */
} aac_vocabulary;

/* `path` and `size` as in aac_tokenizer_open. On failure there is nothing to clear. */
aaclip_status aac_vocabulary_read(aac_vocabulary *vocabulary, const char *path, int64_t size);
void aac_vocabulary_clear(aac_vocabulary *vocabulary);

#endif
