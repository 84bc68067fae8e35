#include "text/clean.h"

#include <string.h>

#include <utf8proc.h>

#include "core/error.h"
#include "core/memory.h"
#include "text/entities.h"

#define MOST_PASSES 16
#define MOST_MARKS  64 /* twice what Unicode's stream-safe format allows */

#define TEXT(number)    TEXT_OF(number)
#define TEXT_OF(number) #number

/* One pass over a text: appends the result to an empty `out`. */
typedef void (*cleaning_stage)(aac_codepoints *out, const aac_codepoints *in);

static void swap(aac_codepoints *a, aac_codepoints *b)
{
    const aac_codepoints first = *a;
    *a = *b;
    *b = first;
}

/* Replaces `text` by the stage's result; `scratch` is working memory. */
static void apply(cleaning_stage stage, aac_codepoints *text, aac_codepoints *scratch)
{
    scratch->count = 0;
    stage(scratch, text);
    scratch->failed |= text->failed;
    swap(text, scratch);
}

/* Letters of a Latin ligature or digraph that ftfy decomposes, or NULL. */
static const char *ligature_letters(int32_t c)
{
    static const char *const digraphs[] = {"D\u017d", "D\u017e", "d\u017e", "LJ", "Lj",
                                           "lj",      "NJ",      "Nj",      "nj"};
    static const char *const croatian_dz[] = {"DZ", "Dz", "dz"};
    static const char *const typographic[] = {"ff", "fi", "fl", "ffi", "ffl", "\u017ft", "st"};
    if (c >= 0x1c4 && c <= 0x1cc)
        return digraphs[c - 0x1c4];
    if (c >= 0x1f1 && c <= 0x1f3)
        return croatian_dz[c - 0x1f1];
    if (c >= 0xfb00 && c <= 0xfb06)
        return typographic[c - 0xfb00];
    switch (c) {
    case 0x132:
        return "IJ";
    case 0x133:
        return "ij";
    case 0x149:
        return "'n"; /* U+02BC n, with the apostrophe straightened */
    default:
        return NULL;
    }
}

static void append_standard_width(aac_codepoints *out, int32_t c)
{
    int boundary = 0;
    utf8proc_int32_t parts[8];
    utf8proc_ssize_t count = utf8proc_decompose_char(
        c, parts, 8, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE),
        &boundary);
    for (utf8proc_ssize_t i = 0; i < count && i < 8; i++)
        aac_codepoints_append(out, parts[i]);
}

/* ftfy's replacements of one character: C1 controls, ligatures, widths, quotes, line ends. */
static void append_plain(aac_codepoints *out, int32_t c)
{
    if (c >= 0x80 && c <= 0x9f)
        c = aac_windows_1252(c);
    const char *letters = ligature_letters(c);
    if (letters)
        aac_codepoints_append_utf8(out, letters);
    else if (c >= 0xff01 && c <= 0xffef)
        append_standard_width(out, c);
    else if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b))
        aac_codepoints_append(out, '\'');
    else if (c >= 0x201c && c <= 0x201f)
        aac_codepoints_append(out, '"');
    else if (c == 0x3000)
        aac_codepoints_append(out, ' ');
    else if (c == '\r' || c == 0x2028 || c == 0x2029)
        aac_codepoints_append(out, '\n');
    else
        aac_codepoints_append(out, c);
}

static void make_plain(aac_codepoints *out, const aac_codepoints *in)
{
    for (size_t i = 0; i < in->count; i++) {
        bool crlf = in->data[i] == '\r' && i + 1 < in->count && in->data[i + 1] == '\n';
        if (!crlf)
            append_plain(out, in->data[i]);
    }
}

/* Characters of the escape sequence that colours a terminal, "ESC [ 1 ; 31 m", or 0. */
static size_t terminal_escape_length(const int32_t *text, size_t count)
{
    if (count < 3 || text[0] != 0x1b || text[1] != '[')
        return 0;
    size_t at = 2;
    while (at < count && (text[at] == ';' || utf8proc_category(text[at]) == UTF8PROC_CATEGORY_ND))
        at++;
    bool letter = at < count &&
                  ((text[at] >= 'a' && text[at] <= 'z') || (text[at] >= 'A' && text[at] <= 'Z'));
    return letter ? at + 1 : 0;
}

static void remove_terminal_escapes(aac_codepoints *out, const aac_codepoints *in)
{
    for (size_t i = 0; i < in->count;) {
        size_t escape = terminal_escape_length(in->data + i, in->count - i);
        if (!escape)
            aac_codepoints_append(out, in->data[i]);
        i += escape ? escape : 1;
    }
}

static bool is_removable_control(int32_t c)
{
    return (c < ' ' && c != '\t' && c != '\n' && c != '\f' && c != '\r') || c == 0x7f ||
           (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

static void remove_controls(aac_codepoints *out, const aac_codepoints *in)
{
    for (size_t i = 0; i < in->count; i++)
        if (!is_removable_control(in->data[i]))
            aac_codepoints_append(out, in->data[i]);
}

/* utf8proc takes the square of their number to order them. */
static bool has_too_many_marks(const aac_codepoints *text)
{
    size_t marks = 0;
    for (size_t i = 0; i < text->count && marks <= MOST_MARKS; i++) {
        const bool mark = utf8proc_get_property(text->data[i])->combining_class != 0;
        marks = mark ? marks + 1 : 0;
    }
    return marks > MOST_MARKS;
}

static bool is_composed_already(const aac_codepoints *text)
{
    for (size_t i = 0; i < text->count; i++)
        if (text->data[i] >= 0x300)
            return false;
    return true;
}

static size_t encode_utf8(utf8proc_uint8_t *utf8, const int32_t *codepoints, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += (size_t)utf8proc_encode_char(codepoints[i], utf8 + size);
    return size;
}

/* Unicode's normalization form C. */
static void compose(aac_codepoints *out, const aac_codepoints *in)
{
    utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    utf8proc_uint8_t *utf8 = aac_alloc_array(in->count, 4);
    if (!utf8) {
        out->failed = true;
        return;
    }
    utf8proc_ssize_t size = (utf8proc_ssize_t)encode_utf8(utf8, in->data, in->count);
    utf8proc_ssize_t count = utf8proc_decompose(utf8, size, NULL, 0, options);
    utf8proc_int32_t *parts = count < 0 ? NULL : aac_alloc_array((size_t)count, sizeof *parts);
    if (parts) {
        count = utf8proc_decompose(utf8, size, parts, count, options);
        count = utf8proc_normalize_utf32(parts, count, options);
        for (utf8proc_ssize_t i = 0; i < count; i++)
            aac_codepoints_append(out, parts[i]);
    } else {
        out->failed = true;
    }
    aac_free(parts);
    aac_free(utf8);
}

/*
 * ftfy's loop over one line, until nothing changes, as one repair can expose another. Ordinary text
 * takes two or three passes; "&amp;amp;amp;..." loses one level per pass. Returns what the line
 * should have been, if it is given up, else NULL.
 */
static const char *fix_line(aac_codepoints *line, aac_codepoints *scratch, bool unescape)
{
    aac_codepoints before = {0};
    const char *expected = NULL;
    int passes = 0;
    do {
        before.count = 0;
        for (size_t i = 0; i < line->count; i++)
            aac_codepoints_append(&before, line->data[i]);
        if (unescape)
            apply(aac_unescape_closed, line, scratch);
        apply(make_plain, line, scratch);
        apply(remove_terminal_escapes, line, scratch);
        apply(remove_controls, line, scratch);
        if (has_too_many_marks(line))
            expected = "at most " TEXT(MOST_MARKS) " combining marks in a row";
        else if (!is_composed_already(line))
            apply(compose, line, scratch);
        line->failed |= before.failed;
        if (!expected && ++passes > MOST_PASSES)
            expected = "HTML references nested fewer than " TEXT(MOST_PASSES) " levels deep";
    } while (!line->failed && !expected && !aac_codepoints_equal(line, &before));
    aac_codepoints_free(&before);
    return expected;
}

/* ftfy works line by line, and ignores references from the first line with a "<" on: that is real
 * HTML. Returns what a line that is given up should have been, else NULL. */
static const char *fix_lines(aac_codepoints *out, const aac_codepoints *in)
{
    aac_codepoints line = {0}, scratch = {0};
    const char *expected = NULL;
    bool unescape = true;
    for (size_t i = 0; i < in->count && !out->failed && !expected;) {
        bool ended = false;
        for (line.count = 0; i < in->count && !ended; i++) {
            aac_codepoints_append(&line, in->data[i]);
            ended = in->data[i] == '\n';
            unescape &= in->data[i] != '<';
        }
        expected = fix_line(&line, &scratch, unescape);
        for (size_t j = 0; j < line.count; j++)
            aac_codepoints_append(out, line.data[j]);
        out->failed |= line.failed;
    }
    aac_codepoints_free(&line);
    aac_codepoints_free(&scratch);
    out->failed |= in->failed;
    return expected;
}

/* Python's str.isspace. */
static bool is_space(int32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
           c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static void collapse_spaces(aac_codepoints *out, const aac_codepoints *in)
{
    bool pending = false;
    for (size_t i = 0; i < in->count; i++) {
        if (is_space(in->data[i])) {
            pending = out->count > 0;
            continue;
        }
        if (pending)
            aac_codepoints_append(out, ' ');
        pending = false;
        aac_codepoints_append(out, in->data[i]);
    }
}

/* Unicode's Case_Ignorable. */
static bool is_case_ignorable(int32_t c)
{
    static const int32_t inside_words[] = {'\'',   '.',    ':',    0xb7,   0x387,  0x55f,
                                           0x5f4,  0x2018, 0x2019, 0x2024, 0x2027, 0xfe13,
                                           0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    for (size_t i = 0; i < sizeof inside_words / sizeof *inside_words; i++)
        if (c == inside_words[i])
            return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* Unicode's Cased, for characters that are not Case_Ignorable. */
static bool is_cased(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
        return true;
    default: /* ordinal indicators, Roman numerals, letters in circles and squares */
        return c == 0xaa || c == 0xba || (c >= 0x2160 && c <= 0x217f) ||
               (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
               (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    }
}

/* Whether the capital sigma at `at` ends a word: a cased letter before it and none after. */
static bool is_final_sigma(const aac_codepoints *text, size_t at)
{
    size_t before = at, after = at + 1;
    while (before > 0 && is_case_ignorable(text->data[before - 1]))
        before--;
    while (after < text->count && is_case_ignorable(text->data[after]))
        after++;
    return before > 0 && is_cased(text->data[before - 1]) &&
           (after == text->count || !is_cased(text->data[after]));
}

/* Python's str.lower: Unicode's full mapping, with two special characters. */
static void make_lower(aac_codepoints *out, const aac_codepoints *in)
{
    for (size_t i = 0; i < in->count; i++) {
        int32_t c = in->data[i];
        if (c == 0x130) { /* I with dot above keeps its dot */
            aac_codepoints_append(out, 'i');
            aac_codepoints_append(out, 0x307);
        } else if (c == 0x3a3) {
            aac_codepoints_append(out, is_final_sigma(in, i) ? 0x3c2 : 0x3c3);
        } else {
            aac_codepoints_append(out, utf8proc_tolower(c));
        }
    }
}

aaclip_status aac_clean_text(aac_codepoints *clean, const char *text)
{
    static const cleaning_stage stages[] = {aac_unescape_html, aac_unescape_html, collapse_spaces,
                                            make_lower};
    if (!aac_codepoints_append_utf8(clean, text))
        return aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "text: expected UTF-8");
    aac_codepoints scratch = {0};
    const char *expected = fix_lines(&scratch, clean);
    swap(clean, &scratch);
    for (size_t i = 0; !expected && i < sizeof stages / sizeof *stages; i++)
        apply(stages[i], clean, &scratch);
    aac_codepoints_free(&scratch);
    if (clean->failed)
        return aac_error_memory();
    return expected ? aac_error(AACLIP_ERROR_INVALID_ARGUMENT, "text: expected %s", expected)
                    : AACLIP_OK;
}
