#include "core/utf8.h"
#include "text/tokenizer.h"

#include <string.h>

#include <utf8proc.h>

#include "core/error.h"
#include "core/limits.h"
#include "core/memory.h"
#include "text/clean.h"
#include "text/vocabulary.h"

#define EXCERPT        40 /* bytes of a text in an error text */
#define LONG_S         0x17f
#define COMBINING_IOTA 0x345

struct aac_tokenizer {
    aac_vocabulary vocabulary;
};

/* Ids of one text. All are counted; those that fit are kept. */
typedef struct id_list {
    int32_t *ids;
    size_t context, count;
} id_list;

/* Room for the symbols of the longest word. */
typedef struct word_room {
    int32_t *symbols;
    int32_t *merged; /* merged[i]: what symbols i and i + 1 merge into */
} word_room;

aaclip_status aac_tokenizer_open(aac_tokenizer **out, const char *path, int64_t vocabulary_size)
{
    *out = NULL;
    aac_tokenizer *tokenizer = aac_alloc(sizeof *tokenizer);
    if (!tokenizer)
        return aac_error_memory();
    aaclip_status status = aac_vocabulary_read(&tokenizer->vocabulary, path, vocabulary_size);
    if (status) {
        aac_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return AACLIP_OK;
}

void aac_tokenizer_close(aac_tokenizer **tokenizer)
{
    if (!tokenizer || !*tokenizer)
        return;
    aac_vocabulary_clear(&(*tokenizer)->vocabulary);
    aac_free(*tokenizer);
    *tokenizer = NULL;
}

static void append_id(id_list *list, int32_t id)
{
    if (list->count < list->context)
        list->ids[list->count] = id;
    list->count++;
}

static int32_t smallest(const int32_t *values, size_t count)
{
    int32_t least = AAC_NO_SYMBOL;
    for (size_t i = 0; i < count; i++)
        least = values[i] < least ? values[i] : least;
    return least;
}

/* Merges every pair that forms `target`, left to right; returns the new number of symbols. */
static size_t merge_pairs(const aac_pair_table *merges, word_room room, size_t count,
                          int32_t target)
{
    size_t kept = 0;
    bool previous_is_new = false;
    for (size_t i = 0; i < count; kept++) {
        bool is_new = i + 1 < count && room.merged[i] == target;
        int32_t symbol = is_new ? target : room.symbols[i];
        if (kept && (is_new || previous_is_new))
            room.merged[kept - 1] = aac_pair_find(merges, room.symbols[kept - 1], symbol);
        else if (kept)
            room.merged[kept - 1] = room.merged[i - 1];
        room.symbols[kept] = symbol;
        previous_is_new = is_new;
        i += is_new ? 2 : 1;
    }
    return kept;
}

/*
 * Byte-pair encoding: while there is a known pair, merges all occurrences of the earliest learned
 * one. Symbols of merges are numbered by rank, so this is the smallest merged symbol.
 */
static size_t merge_word(const aac_pair_table *merges, word_room room, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++)
        room.merged[i] = aac_pair_find(merges, room.symbols[i], room.symbols[i + 1]);
    for (;;) {
        int32_t target = smallest(room.merged, count - 1);
        if (target == AAC_NO_SYMBOL)
            return count;
        count = merge_pairs(merges, room, count, target);
    }
}

static void encode_word(const aac_vocabulary *vocabulary, word_room room, id_list *list,
                        const int32_t *word, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        utf8proc_uint8_t bytes[4];
        utf8proc_ssize_t size = utf8proc_encode_char(word[i], bytes);
        for (utf8proc_ssize_t j = 0; j < size; j++)
            room.symbols[count++] = vocabulary->byte_symbol[bytes[j]];
    }
    room.symbols[count - 1] += 256; /* the end mark */
    count = merge_word(&vocabulary->merges, room, count);
    for (size_t i = 0; i < count; i++)
        append_id(list, vocabulary->ids[room.symbols[i]]);
}

typedef enum character_class { LETTER, NUMBER, OTHER, SEPARATOR } character_class;

static character_class class_of(int32_t c)
{
    /* CLIP's pattern ignores case: the iota is then neither letter nor other, and is dropped. */
    if (c == ' ' || c == COMBINING_IOTA)
        return SEPARATOR;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    default:
        return OTHER;
    }
}

/* Length of `word` if the text begins with it, else 0. The long s equals s, ignoring case. */
static size_t match(const int32_t *text, size_t count, const char *word)
{
    size_t length = 0;
    for (; word[length]; length++)
        if (length == count || (text[length] == LONG_S ? 's' : text[length]) != word[length])
            return 0;
    return length;
}

/* Length of the first of CLIP's fixed words that the text begins with, else 0. */
static size_t match_fixed_word(const int32_t *text, size_t count)
{
    static const char *const words[] = {
        "<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    size_t length = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words && !length; i++)
        length = match(text, count, words[i]);
    return length;
}

/* Length of the word that the text begins with; the first character is not a separator. */
static size_t word_length(const int32_t *text, size_t count)
{
    size_t length = match_fixed_word(text, count);
    if (length)
        return length;
    character_class class = class_of(text[0]);
    length = 1;
    while (class != NUMBER && length < count && class_of(text[length]) == class)
        length++;
    return length;
}

static bool is_exactly(const int32_t *word, size_t length, const char *name)
{
    size_t same = 0;
    while (same < length && name[same] && word[same] == name[same])
        same++;
    return same == length && !name[same];
}

/* With `stop`, words that no longer fit are omitted. */
static void encode_words(const aac_vocabulary *vocabulary, word_room room, id_list *list,
                         const aac_codepoints *text, bool stop)
{
    for (size_t i = 0; i < text->count && !(stop && list->count >= list->context);) {
        const int32_t *word = text->data + i;
        if (class_of(*word) == SEPARATOR) {
            i++;
            continue;
        }
        size_t length = word_length(word, text->count - i);
        if (is_exactly(word, length, "<|startoftext|>"))
            append_id(list, vocabulary->start_id);
        else if (is_exactly(word, length, "<|endoftext|>"))
            append_id(list, vocabulary->end_id);
        else
            encode_word(vocabulary, room, list, word, length);
        i += length;
    }
}

static aaclip_status encode_clean(const aac_vocabulary *vocabulary, id_list *list,
                                  const aac_codepoints *text, bool stop)
{
    size_t bytes = 4 * text->count;
    int32_t *room = aac_alloc_array(bytes, 2 * sizeof *room);
    if (!room)
        return aac_error_memory();
    append_id(list, vocabulary->start_id);
    encode_words(vocabulary, (word_room){room, room + bytes}, list, text, stop);
    append_id(list, vocabulary->end_id);
    aac_free(room);
    return AACLIP_OK;
}

aaclip_status aac_text_check_size(size_t bytes)
{
    const uint64_t most = aac_limit(AAC_LIMIT_PROMPT_BYTES);
    if (bytes <= most)
        return AACLIP_OK;
    return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                     "prompt: expected at most %llu bytes, found %zu" AAC_LIMIT_HINT,
                     (unsigned long long)most, bytes);
}

aaclip_status aac_tokenizer_encode(const aac_tokenizer *tokenizer, const char *text, bool truncate,
                                   int32_t *ids, size_t context, size_t *count)
{
    *count = 0;
    if (context < 2)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "context: expected at least 2 tokens, found %zu", context);
    aaclip_status status = aac_text_check_size(strlen(text));
    if (status)
        return status;
    id_list list = {ids, context, 0};
    aac_codepoints clean = {0};
    status = aac_clean_text(&clean, text);
    if (!status)
        status = encode_clean(&tokenizer->vocabulary, &list, &clean, truncate);
    aac_codepoints_free(&clean);
    if (status)
        return status;
    if (list.count > context && !truncate)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "text \"%.*s\": expected at most %zu tokens, found %zu",
                         aac_utf8_excerpt(text, EXCERPT), text, context, list.count);
    if (list.count > context)
        ids[context - 1] = tokenizer->vocabulary.end_id;
    *count = list.count < context ? list.count : context;
    return AACLIP_OK;
}
