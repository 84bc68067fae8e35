/* Text cleaning as in CLIP's tokenizer: ftfy, HTML, white space, lower case. */
#ifndef AAC_TEXT_CLEAN_H
#define AAC_TEXT_CLEAN_H

#include <aaclip/status.h>

#include "text/codepoints.h"

/*
 * Fills `clean` (initially empty) from UTF-8 `text`, like these Python calls in sequence:
 * ftfy.fix_text(fix_encoding=False), html.unescape twice, " ".join(text.split()), lower().
 * fix_encoding, which guesses that text was decoded with the wrong table ("Ã©" for "é"), is
 * omitted: such text is unchanged. INVALID_ARGUMENT if `text` is not UTF-8, has HTML references
 * nested 16 deep ("&amp;amp;..."), as each level costs a pass over the text, or more than 64
 * combining marks in a row.
 */
aaclip_status aac_clean_text(aac_codepoints *clean, const char *text);

#endif
