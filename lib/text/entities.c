#include "text/entities.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT     0xfffd
#define MAX_CODEPOINT   0x10ffff
#define MAX_HTML_NAME   32 /* longest name for html.unescape, in characters */
#define MAX_CLOSED_NAME 24 /* longest name or number for ftfy, in characters */

int32_t aac_windows_1252(int32_t byte)
{
    static const uint16_t codepoints[32] = {
        0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x8d,   0x017d, 0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178,
    };
    return codepoints[byte - 0x80];
}

static bool is_digit(int32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_ascii_alphanumeric(int32_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Value of a digit in base 10 or 16; -1 for anything else. */
static int digit_value(int32_t c, int base)
{
    if (is_digit(c))
        return (int)(c - '0');
    if (base == 16 && c >= 'a' && c <= 'f')
        return (int)(c - 'a') + 10;
    if (base == 16 && c >= 'A' && c <= 'F')
        return (int)(c - 'A') + 10;
    return -1;
}

/*
 * Reads "#123" or "#x1f", with a semicolon if one follows; returns the number of characters, 0 if
 * there is no such reference. Numbers beyond Unicode give MAX_CODEPOINT + 1.
 */
static size_t read_number(const int32_t *text, size_t count, int32_t *value)
{
    size_t at = 1;
    int base = 10;
    if (count < 2 || text[0] != '#')
        return 0;
    if (text[1] == 'x' || text[1] == 'X') {
        base = 16;
        at = 2;
    }
    size_t first = at;
    *value = 0;
    for (int digit; at < count && (digit = digit_value(text[at], base)) >= 0; at++) {
        *value = *value * base + digit;
        if (*value > MAX_CODEPOINT)
            *value = MAX_CODEPOINT + 1;
    }
    if (at == first)
        return 0;
    return at < count && text[at] == ';' ? at + 1 : at;
}

static bool is_noncharacter(int32_t c)
{
    return (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

static void append_number(aac_codepoints *out, int32_t c)
{
    if (c == 0 || c > MAX_CODEPOINT || (c >= 0xd800 && c <= 0xdfff))
        aac_codepoints_append(out, REPLACEMENT);
    else if (c >= 0x80 && c <= 0x9f)
        aac_codepoints_append(out, aac_windows_1252(c));
    else if (c == '\t' || c == '\n' || c == '\f' || c == '\r' ||
             (c >= ' ' && c != 0x7f && !is_noncharacter(c)))
        aac_codepoints_append(out, c);
}

static int compare_entity(const void *name, const void *entity)
{
    return strcmp(name, ((const aac_entity *)entity)->name);
}

/* The entity whose name is text[0 .. length), or NULL. */
static const aac_entity *find_entity(const aac_entity *entities, size_t count, const int32_t *text,
                                     size_t length)
{
    char name[AAC_ENTITY_NAME_SIZE];
    if (length >= sizeof name)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        if (!is_ascii_alphanumeric(text[i]) && text[i] != ';')
            return NULL;
        name[i] = (char)text[i];
    }
    name[length] = '\0';
    return bsearch(name, entities, count, sizeof *entities, compare_entity);
}

static const aac_entity *find_html_entity(const int32_t *text, size_t length)
{
    return find_entity(aac_html_entities, aac_html_entity_count, text, length);
}

static bool ends_html_name(int32_t c)
{
    return c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' ||
           c == ';';
}

/* Appends the entity at text[0]; returns the number of characters consumed, 0 if there is none. */
static size_t append_html_name(aac_codepoints *out, const int32_t *text, size_t count)
{
    size_t length = 0;
    while (length < count && length < MAX_HTML_NAME && !ends_html_name(text[length]))
        length++;
    if (length && length < count && text[length] == ';')
        length++;
    for (; length > 1; length--) {
        const aac_entity *entity = find_html_entity(text, length);
        if (entity) {
            aac_codepoints_append_utf8(out, entity->text);
            return length;
        }
    }
    return 0;
}

void aac_unescape_html(aac_codepoints *out, const aac_codepoints *in)
{
    for (size_t i = 0; i < in->count;) {
        int32_t number;
        size_t left = in->count - i - 1, used = 0;
        if (in->data[i] == '&') {
            const int32_t *reference = in->data + i + 1;
            used = read_number(reference, left, &number);
            if (used)
                append_number(out, number);
            else
                used = append_html_name(out, reference, left);
        }
        if (!used)
            aac_codepoints_append(out, in->data[i]);
        i += 1 + used;
    }
}

/* Characters of "name;" or "#number;" at text[0], or 0. */
static size_t closed_length(const int32_t *text, size_t count)
{
    size_t first = count > 0 && text[0] == '#' ? 1 : 0, at = first;
    while (at < count && at - first < MAX_CLOSED_NAME && is_ascii_alphanumeric(text[at]))
        at++;
    return at > first && at < count && text[at] == ';' ? at + 1 : 0;
}

/* Appends the closed reference text[0 .. length); false when it means nothing. */
static bool append_closed(aac_codepoints *out, const int32_t *text, size_t length)
{
    int32_t number;
    if (text[0] == '#') {
        /* A reference to the semicolon itself is kept, as in ftfy. */
        if (read_number(text, length, &number) != length || number == ';')
            return false;
        append_number(out, number);
        return true;
    }
    const aac_entity *entity = find_html_entity(text, length);
    if (!entity)
        entity = find_entity(aac_capital_entities, aac_capital_entity_count, text, length);
    if (entity)
        aac_codepoints_append_utf8(out, entity->text);
    return entity != NULL;
}

void aac_unescape_closed(aac_codepoints *out, const aac_codepoints *in)
{
    for (size_t i = 0; i < in->count;) {
        size_t used = 0;
        if (in->data[i] == '&') {
            used = closed_length(in->data + i + 1, in->count - i - 1);
            if (used && !append_closed(out, in->data + i + 1, used))
                used = 0;
        }
        if (!used)
            aac_codepoints_append(out, in->data[i]);
        i += 1 + used;
    }
}
