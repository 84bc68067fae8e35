/* Prints the ids of texts: print_ids VOCABULARY SIZE CONTEXT, NUL-terminated texts on stdin. */
#include <stdio.h>
#include <stdlib.h>

#include "text/tokenizer.h"

static void print_ids(const aac_tokenizer *tokenizer, const char *text, int32_t *ids,
                      size_t context)
{
    size_t count;
    if (aac_tokenizer_encode(tokenizer, text, false, ids, context, &count)) {
        printf("error: %s\n", aaclip_last_error());
        return;
    }
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i ? " " : "", ids[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    aac_tokenizer *tokenizer;
    if (argc != 4) {
        fprintf(stderr, "usage: %s VOCABULARY SIZE CONTEXT < texts\n", argv[0]);
        return 2;
    }
    if (aac_tokenizer_open(&tokenizer, argv[1], atoll(argv[2]))) {
        fprintf(stderr, "%s\n", aaclip_last_error());
        return 1;
    }
    size_t context = (size_t)atoll(argv[3]), capacity = 0;
    int32_t *ids = calloc(context, sizeof *ids);
    char *text = NULL;
    while (ids && getdelim(&text, &capacity, '\0', stdin) > 0)
        print_ids(tokenizer, text, ids, context);
    free(text);
    free(ids);
    aac_tokenizer_close(&tokenizer);
    return 0;
}
