/* What the tokenizer targets check of ids. */
#ifndef AAC_TESTS_FUZZ_CHECK_IDS_H
#define AAC_TESTS_FUZZ_CHECK_IDS_H

#include "text/tokenizer.h"

enum { BYTE_TOKENS = 514, CONTEXT = 77 };

/* Encodes the bytes as a text: there must be at most CONTEXT ids, all below `limit`. */
void check_ids(const aac_tokenizer *tokenizer, const uint8_t *bytes, size_t size, int32_t limit);

#endif
