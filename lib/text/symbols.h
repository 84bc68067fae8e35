/* Two hash tables: from spelling to symbol, and from two symbols to the one they merge into. */
#ifndef AAC_TEXT_SYMBOLS_H
#define AAC_TEXT_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AAC_NO_SYMBOL INT32_MAX

typedef struct aac_spelling {
    const char *start; /* NULL: a free slot */
    size_t length;
    int32_t symbol;
} aac_spelling;

/* Spellings belong to the caller and must not move. */
typedef struct aac_spelling_table {
    aac_spelling *slots;
    size_t mask;
} aac_spelling_table;

/* `count` is the maximum number of spellings. false when out of memory. */
bool aac_spelling_table_init(aac_spelling_table *table, size_t count);
/* The symbol or AAC_NO_SYMBOL. */
int32_t aac_spelling_find(const aac_spelling_table *table, const char *start, size_t length);
/* false if the spelling is already present. */
bool aac_spelling_add(aac_spelling_table *table, const char *start, size_t length, int32_t symbol);
void aac_spelling_table_free(aac_spelling_table *table);

typedef struct aac_pair {
    int32_t left, right, merged; /* left < 0: a free slot */
} aac_pair;

typedef struct aac_pair_table {
    aac_pair *slots;
    size_t mask;
} aac_pair_table;

bool aac_pair_table_init(aac_pair_table *table, size_t count);
/* The merged symbol or AAC_NO_SYMBOL. */
int32_t aac_pair_find(const aac_pair_table *table, int32_t left, int32_t right);
/* The pair must be new. */
void aac_pair_add(aac_pair_table *table, aac_pair pair);
void aac_pair_table_free(aac_pair_table *table);

#endif
