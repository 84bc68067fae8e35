#include "core/utf8.h"
#include "text/vocabulary.h"

#include <stdbool.h>
#include <string.h>

#include <jansson.h>
#include <utf8proc.h>
#include <zlib.h>

#include "core/cancel.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/platform.h"
#include "text/codepoints.h"

#define MAX_FILE_SIZE  ((size_t)64 << 20) /* uncompressed; OpenAI's list has 3 MB */
#define MAX_VOCABULARY (1 << 22)
#define SPECIAL_TOKENS 2
#define END_OF_WORD    "</w>"
#define START_OF_TEXT  "<|startoftext|>"
#define END_OF_TEXT    "<|endoftext|>"
#define EXCERPT        40 /* bytes of a file's text in an error text */

/* A vocabulary being read. */
typedef struct vocabulary_reader {
    const char *path;    /* of the merges, for error texts */
    char *text;          /* the merges, uncompressed */
    size_t size, at;     /* of the text; start of the next line */
    size_t line;         /* number of the line read last */
    size_t merge_count;  /* merges in the vocabulary */
    bool exact;          /* the list must not have more, unless it is OpenAI's */
    char *spellings;     /* of all symbols, one after the other */
    size_t spelling_end; /* bytes of `spellings` in use */
    aac_spelling_table table;
} vocabulary_reader;

static void reader_clear(vocabulary_reader *reader)
{
    aac_free(reader->text);
    aac_free(reader->spellings);
    aac_spelling_table_free(&reader->table);
}

static aaclip_status grow_text(vocabulary_reader *reader, size_t *capacity)
{
    if (reader->size < *capacity)
        return AACLIP_OK;
    if (*capacity >= MAX_FILE_SIZE)
        return aac_error(AACLIP_ERROR_FORMAT,
                         "%s: expected at most %zu bytes uncompressed, found more", reader->path,
                         MAX_FILE_SIZE);
    size_t larger = *capacity ? 2 * *capacity : (size_t)1 << 20;
    char *moved = aac_realloc(reader->text, larger);
    if (!moved)
        return aac_error_memory();
    reader->text = moved;
    *capacity = larger;
    return AACLIP_OK;
}

/* Inflates into reader->text until the end of the gzip stream, whose checksum zlib verifies. */
static aaclip_status inflate_text(vocabulary_reader *reader, z_stream *stream)
{
    size_t capacity = 0;
    for (int result = Z_OK; result != Z_STREAM_END;) {
        aaclip_status status = aac_cancel_look();
        if (!status)
            status = grow_text(reader, &capacity);
        if (status)
            return status;
        size_t room = capacity - reader->size;
        stream->next_out = (Bytef *)reader->text + reader->size;
        stream->avail_out = (uInt)room;
        result = inflate(stream, Z_NO_FLUSH);
        reader->size += room - stream->avail_out;
        if (result == Z_MEM_ERROR)
            return aac_error_memory();
        if (result == Z_BUF_ERROR)
            return aac_error(AACLIP_ERROR_FORMAT, "%s: the gzip stream is truncated", reader->path);
        if (result != Z_OK && result != Z_STREAM_END)
            return aac_error(AACLIP_ERROR_FORMAT, "%s: damaged gzip stream: %s", reader->path,
                             stream->msg ? stream->msg : "unexpected preset dictionary");
    }
    return AACLIP_OK;
}

static aaclip_status unpack(vocabulary_reader *reader, const aac_mapping *file)
{
    z_stream stream = {.next_in = (Bytef *)file->data, .avail_in = (uInt)file->size};
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
        return aac_error_memory();
    aaclip_status status = inflate_text(reader, &stream);
    inflateEnd(&stream);
    return status;
}

static aaclip_status copy_text(vocabulary_reader *reader, const aac_mapping *file)
{
    reader->text = aac_alloc(file->size);
    if (!reader->text)
        return aac_error_memory();
    memcpy(reader->text, file->data, file->size);
    reader->size = file->size;
    return AACLIP_OK;
}

static aaclip_status read_bounded(aac_mapping *file, const char *path)
{
    aaclip_status status = aac_read_file(file, path);
    if (status || file->size <= MAX_FILE_SIZE)
        return status;
    status = aac_error(AACLIP_ERROR_FORMAT, "%s: expected at most %zu bytes, found %zu", path,
                       MAX_FILE_SIZE, file->size);
    aac_unmap_file(file);
    return status;
}

static aaclip_status read_text(vocabulary_reader *reader)
{
    aac_mapping file;
    aaclip_status status = read_bounded(&file, reader->path);
    if (status)
        return status;
    bool gzip = file.size >= 2 && file.data[0] == 0x1f && file.data[1] == 0x8b;
    status = gzip ? unpack(reader, &file) : copy_text(reader, &file);
    aac_unmap_file(&file);
    return status;
}

/* Takes the next line, without its line end; false at the end of the text. */
static bool next_line(vocabulary_reader *reader, const char **line, size_t *length)
{
    if (reader->at >= reader->size)
        return false;
    *line = reader->text + reader->at;
    const char *end = memchr(*line, '\n', reader->size - reader->at);
    *length = end ? (size_t)(end - *line) : reader->size - reader->at;
    reader->at += *length + 1;
    reader->line++;
    if (*length && (*line)[*length - 1] == '\r')
        --*length;
    return true;
}

static bool contains(const char *line, size_t length, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= length; i++)
        if (memcmp(line + i, word, size) == 0)
            return true;
    return false;
}

/* Skips the first line and checks that the required number of merges follows. */
static aaclip_status read_header(vocabulary_reader *reader)
{
    const char *line;
    size_t length, found = 0;
    if (!next_line(reader, &line, &length) || !contains(line, length, "#version"))
        return aac_error(AACLIP_ERROR_FORMAT, "%s: line 1: expected a line with \"#version\"",
                         reader->path);
    const bool exact = reader->exact && !contains(line, length, "bpe_simple_vocab"); /* OpenAI's */
    for (size_t i = reader->at; i < reader->size; i++)
        if (reader->text[i] != '\n' && reader->text[i - 1] == '\n')
            found++;
    if (found < reader->merge_count || (exact && found > reader->merge_count))
        return aac_error(AACLIP_ERROR_MISMATCH,
                         "%s: expected %zu merges for a vocabulary of %zu, found %zu", reader->path,
                         reader->merge_count,
                         reader->merge_count + AAC_BYTE_SYMBOLS + SPECIAL_TOKENS, found);
    return AACLIP_OK;
}

/* The list represents bytes by characters: printable Latin-1 by itself, the rest from U+0100 on. */
static bool is_printable_byte(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
}

static void add_byte_spelling(vocabulary_reader *reader, int32_t codepoint, int32_t symbol)
{
    char *start = reader->spellings + reader->spelling_end;
    size_t length = (size_t)utf8proc_encode_char(codepoint, (utf8proc_uint8_t *)start);
    aac_spelling_add(&reader->table, start, length, symbol);
    char *word_end = start + length;
    memcpy(word_end, start, length);
    memcpy(word_end + length, END_OF_WORD, strlen(END_OF_WORD));
    aac_spelling_add(&reader->table, word_end, length + strlen(END_OF_WORD), symbol + 256);
    reader->spelling_end += 2 * length + strlen(END_OF_WORD);
}

/* Bytes get symbols in the order of CLIP's list: printable ones first. */
static void add_bytes(vocabulary_reader *reader, aac_vocabulary *vocabulary)
{
    int32_t symbol = 0, substitute = 0x100;
    for (int byte = 0; byte < 256; byte++)
        if (is_printable_byte(byte)) {
            add_byte_spelling(reader, byte, symbol);
            vocabulary->byte_symbol[byte] = symbol++;
        }
    for (int byte = 0; byte < 256; byte++)
        if (!is_printable_byte(byte)) {
            add_byte_spelling(reader, substitute++, symbol);
            vocabulary->byte_symbol[byte] = symbol++;
        }
}

static aaclip_status line_error(const vocabulary_reader *reader, const char *expected)
{
    return aac_error(AACLIP_ERROR_FORMAT, "%s: line %zu: expected %s", reader->path, reader->line,
                     expected);
}

static aaclip_status add_merge(vocabulary_reader *reader, aac_vocabulary *vocabulary,
                               const char *line, size_t length, int32_t symbol)
{
    const char *space = memchr(line, ' ', length);
    if (!space)
        return line_error(reader, "two symbols separated by a space");
    size_t left_length = (size_t)(space - line), right_length = length - left_length - 1;
    int32_t left = aac_spelling_find(&reader->table, line, left_length);
    int32_t right = aac_spelling_find(&reader->table, space + 1, right_length);
    if (left == AAC_NO_SYMBOL || right == AAC_NO_SYMBOL)
        return line_error(reader, "two symbols that are bytes or products of earlier lines");
    char *spelling = reader->spellings + reader->spelling_end;
    memcpy(spelling, line, left_length);
    memcpy(spelling + left_length, space + 1, right_length);
    reader->spelling_end += left_length + right_length;
    if (!aac_spelling_add(&reader->table, spelling, left_length + right_length, symbol))
        return line_error(reader, "a merge that produces a new symbol");
    aac_pair_add(&vocabulary->merges, (aac_pair){left, right, symbol});
    return AACLIP_OK;
}

static aaclip_status read_merges(vocabulary_reader *reader, aac_vocabulary *vocabulary)
{
    /* A byte's two spellings take 2 * 2 bytes and the end mark; a merge's spelling less than its
     * line. */
    size_t bytes_size = 256 * (4 + strlen(END_OF_WORD));
    reader->spellings = aac_alloc(bytes_size + reader->size);
    if (!reader->spellings ||
        !aac_spelling_table_init(&reader->table, AAC_BYTE_SYMBOLS + reader->merge_count) ||
        !aac_pair_table_init(&vocabulary->merges, reader->merge_count))
        return aac_error_memory();
    add_bytes(reader, vocabulary);
    aaclip_status status = AACLIP_OK;
    for (size_t i = 0; i < reader->merge_count && !status; i++) {
        const char *line;
        size_t length;
        if (!next_line(reader, &line, &length))
            return line_error(reader, "another merge after it");
        status = aac_cancel_look_at(i);
        if (!status)
            status = add_merge(reader, vocabulary, line, length, (int32_t)(AAC_BYTE_SYMBOLS + i));
    }
    return status;
}

/* Without vocab.json: ids count up in the order of the symbols, the special tokens come last. */
static void number_in_order(aac_vocabulary *vocabulary, size_t symbols)
{
    for (size_t i = 0; i < symbols; i++)
        vocabulary->ids[i] = (int32_t)i;
    vocabulary->start_id = (int32_t)symbols;
    vocabulary->end_id = (int32_t)symbols + 1;
}

/* Where this token's id is stored, or NULL if no merge forms it. */
static int32_t *id_of_token(aac_vocabulary *vocabulary, const vocabulary_reader *reader,
                            const char *token)
{
    if (strcmp(token, START_OF_TEXT) == 0)
        return &vocabulary->start_id;
    if (strcmp(token, END_OF_TEXT) == 0)
        return &vocabulary->end_id;
    int32_t symbol = aac_spelling_find(&reader->table, token, strlen(token));
    return symbol == AAC_NO_SYMBOL ? NULL : &vocabulary->ids[symbol];
}

/* All names are distinct and known, and their number equals that of the ids: so every symbol gets
 * an id. */
static aaclip_status take_ids(aac_vocabulary *vocabulary, const vocabulary_reader *reader,
                              json_t *json, const char *path, unsigned char *taken)
{
    const char *token;
    json_t *value;
    size_t count = json_object_size(json), steps = 0;
    json_object_foreach(json, token, value)
    {
        aaclip_status status = aac_cancel_look_at(steps++);
        if (status)
            return status;
        int32_t *id = id_of_token(vocabulary, reader, token);
        json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
        if (!id)
            return aac_error(AACLIP_ERROR_FORMAT, "%s: no merge in %s produces \"%.*s\"", path,
                             reader->path, aac_utf8_excerpt(token, EXCERPT), token);
        if (number < 0 || number >= (json_int_t)count || taken[number])
            return aac_error(AACLIP_ERROR_FORMAT, "%s: \"%.*s\": expected a unique id below %zu",
                             path, aac_utf8_excerpt(token, EXCERPT), token, count);
        taken[number] = 1;
        *id = (int32_t)number;
    }
    return AACLIP_OK;
}

static aaclip_status parse_json(json_t **json, const char *path)
{
    aac_mapping file;
    aaclip_status status = read_bounded(&file, path);
    if (status)
        return status;
    json_error_t error;
    status = aac_json_parse(json, file.data, file.size, JSON_REJECT_DUPLICATES, &error);
    aac_unmap_file(&file);
    if (!status && !*json)
        return aac_error(AACLIP_ERROR_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    return status;
}

static aaclip_status read_ids(aac_vocabulary *vocabulary, const vocabulary_reader *reader,
                              const char *path)
{
    json_t *json;
    aaclip_status status = parse_json(&json, path);
    if (status)
        return status;
    size_t expected = AAC_BYTE_SYMBOLS + reader->merge_count + SPECIAL_TOKENS;
    unsigned char *taken = aac_calloc(expected, 1);
    if (!taken)
        status = aac_error_memory();
    else if (!json_is_object(json) || json_object_size(json) != expected)
        status = aac_error(AACLIP_ERROR_MISMATCH, "%s: expected an object of %zu tokens, found %zu",
                           path, expected, json_object_size(json));
    else
        status = take_ids(vocabulary, reader, json, path, taken);
    aac_free(taken);
    json_decref(json);
    return status;
}

static aaclip_status read_symbols(aac_vocabulary *vocabulary, vocabulary_reader *reader,
                                  const char *json_path)
{
    aaclip_status status = read_text(reader);
    if (!status)
        status = read_header(reader);
    if (!status)
        status = read_merges(reader, vocabulary);
    if (status)
        return status;
    size_t symbols = AAC_BYTE_SYMBOLS + reader->merge_count;
    vocabulary->ids = aac_alloc_array(symbols, sizeof *vocabulary->ids);
    if (!vocabulary->ids)
        return aac_error_memory();
    if (aac_path_kind_of(json_path) == AAC_PATH_FILE)
        return read_ids(vocabulary, reader, json_path);
    number_in_order(vocabulary, symbols);
    return AACLIP_OK;
}

/* The list of merges that `path` means: the file itself, or the one in the folder. */
static aaclip_status find_merges(char **merges, const char *path)
{
    static const char *const names[] = {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt",
                                        "merges.txt"};
    if (aac_path_kind_of(path) != AAC_PATH_DIRECTORY) {
        *merges = aac_strdup(path);
        return *merges ? AACLIP_OK : aac_error_memory();
    }
    bool ends_in_slash = *path && aac_is_separator(path[strlen(path) - 1]);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *merges = aac_format("%s%s%s", path, ends_in_slash ? "" : "/", names[i]);
        if (!*merges)
            return aac_error_memory();
        if (aac_path_kind_of(*merges) == AAC_PATH_FILE)
            return AACLIP_OK;
        aac_free(*merges);
    }
    *merges = NULL;
    return aac_error(AACLIP_ERROR_NOT_FOUND, "%s: expected %s or %s in this folder", path, names[0],
                     names[2]);
}

/* Whether it is Hugging Face's list, which has exactly the vocabulary's merges; OpenAI's has more,
 * which are cut. */
static bool is_huggingface(const char *merges)
{
    return strcmp(aac_path_name(merges), "merges.txt") == 0;
}

/* vocab.json beside a file named merges.txt; for any other name, a name that no file has. */
static char *json_path_beside(const char *merges)
{
    if (!is_huggingface(merges))
        return aac_strdup("");
    return aac_format("%.*svocab.json", (int)(aac_path_name(merges) - merges), merges);
}

aaclip_status aac_vocabulary_read(aac_vocabulary *vocabulary, const char *path, int64_t size)
{
    *vocabulary = (aac_vocabulary){0};
    if (size < AAC_BYTE_SYMBOLS + SPECIAL_TOKENS || size > MAX_VOCABULARY)
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT,
                         "vocabulary size: expected %d to %d, found %lld",
                         AAC_BYTE_SYMBOLS + SPECIAL_TOKENS, MAX_VOCABULARY, (long long)size);
    char *merges;
    aaclip_status status = find_merges(&merges, path);
    if (status)
        return status;
    vocabulary_reader reader = {.path = merges,
                                .merge_count = (size_t)size - AAC_BYTE_SYMBOLS - SPECIAL_TOKENS,
                                .exact = is_huggingface(merges)};
    char *json_path = json_path_beside(merges);
    status = json_path ? read_symbols(vocabulary, &reader, json_path) : aac_error_memory();
    if (status)
        aac_vocabulary_clear(vocabulary);
    reader_clear(&reader);
    aac_free(json_path);
    aac_free(merges);
    return status;
}

void aac_vocabulary_clear(aac_vocabulary *vocabulary)
{
    aac_pair_table_free(&vocabulary->merges);
    aac_free(vocabulary->ids);
    *vocabulary = (aac_vocabulary){0};
}
