/* CLIP's byte-pair tokenizer: the same ids as OpenAI's simple_tokenizer and open_clip's. */
#ifndef AAC_TEXT_TOKENIZER_H
#define AAC_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aaclip/status.h>

/* Immutable after open; shared freely between threads. */
typedef struct aac_tokenizer aac_tokenizer;

/*
 * `path`: `bpe_simple_vocab_16e6.txt.gz` (or that text unpacked), `merges.txt`, or a folder that
 * holds one of them (the ids are then from vocab.json beside merges.txt). `vocabulary_size` is the
 * model's number of token embeddings: the file must give exactly that many ids (bytes, bytes with
 * end mark, merges, two special tokens); for the 16e6 list surplus merges are cut, as CLIP does.
 */
aaclip_status aac_tokenizer_open(aac_tokenizer **tokenizer, const char *path,
                                 int64_t vocabulary_size);
void aac_tokenizer_close(aac_tokenizer **tokenizer);

/* INVALID_ARGUMENT if a text has more bytes than the limit, which is far beyond any context and
 * bounds the time. */
aaclip_status aac_text_check_size(size_t bytes);

/*
 * Writes <|startoftext|> ids <|endoftext|> to `ids` (room for `context`) and their number to
 * `count`. Longer text: INVALID_ARGUMENT naming text, limit and length; with `truncate`, cut so
 * that the last token is <|endoftext|>. `text` must be UTF-8 within the byte limit (else
 * INVALID_ARGUMENT). Differs from the reference in that ftfy's repair of text decoded with the
 * wrong table ("Ã©" for "é") is omitted, and that characters newer than utf8proc's Unicode are not
 * letters.
 */
aaclip_status aac_tokenizer_encode(const aac_tokenizer *tokenizer, const char *text, bool truncate,
                                   int32_t *ids, size_t context, size_t *count);

#endif
