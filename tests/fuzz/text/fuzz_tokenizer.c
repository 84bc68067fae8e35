/* Any text, with a small vocabulary. */
#include "../fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "../scratch.h"
#include "check_ids.h"
#include "core/memory.h"

enum { MERGES = 24 };

static const char merges[] =
    "#version: 0.2\n"
    "i n\nt h\na n\nr e\na r\ne r\nth e</w>\nin g</w>\no u\no n\ns t\n"
    "o r\ne n\no n</w>\na l\na t\ne r</w>\ni t\nin g\nl o\nan d</w>\n"
    "' s</w>\n1 0\n! !";

static aac_tokenizer *tokenizer;

static void close_tokenizer(void)
{
    aac_tokenizer_close(&tokenizer);
}

static void open_tokenizer(void)
{
    char *path = fuzz_write("merges.txt", (const uint8_t *)merges, sizeof merges - 1);
    if (aac_tokenizer_open(&tokenizer, path, BYTE_TOKENS + MERGES)) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        abort();
    }
    aac_free(path);
    atexit(close_tokenizer);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    if (!tokenizer)
        open_tokenizer();
    check_ids(tokenizer, data, size, BYTE_TOKENS + MERGES);
}
