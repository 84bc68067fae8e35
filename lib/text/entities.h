/* HTML character references: Python's html.unescape and the stricter form of ftfy. */
#ifndef AAC_TEXT_ENTITIES_H
#define AAC_TEXT_ENTITIES_H

#include <stddef.h>
#include <stdint.h>

#include "text/codepoints.h"

/* For the longest name with its semicolon: "CounterClockwiseContourIntegral;". */
#define AAC_ENTITY_NAME_SIZE 34

typedef struct aac_entity {
    char name[AAC_ENTITY_NAME_SIZE]; /* "amp;" and, where HTML allows it, "amp" */
    char text[8];                    /* UTF-8 */
} aac_entity;

/* Made by make_entities.py, sorted by name. */
extern const aac_entity aac_html_entities[];
extern const size_t aac_html_entity_count;
/* Upper-case names unknown to HTML that ftfy reads as the capital letter: "EACUTE;". */
extern const aac_entity aac_capital_entities[];
extern const size_t aac_capital_entity_count;

/* Appends `in` to `out` by the rules of HTML 5, unclosed references ("&ampx") included. */
void aac_unescape_html(aac_codepoints *out, const aac_codepoints *in);
/* The same only for references that end in a semicolon; also reads the upper-case names. */
void aac_unescape_closed(aac_codepoints *out, const aac_codepoints *in);

/* The Windows-1252 meaning of a byte 0x80-0x9f; undefined bytes are unchanged. */
int32_t aac_windows_1252(int32_t byte);

#endif
