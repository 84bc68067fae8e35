/* What CLIP's tokenizer does to a text before it splits it: ftfy, HTML, white space, lower case. */
#ifndef AAC_TEXT_CLEAN_H
#define AAC_TEXT_CLEAN_H

#include <aaclip/status.h>

#include "text/codepoints.h"

/*
 * Makes `clean` (empty before) from UTF-8 `text`, as these Python calls do, one after the other:
 * ftfy.fix_text(fix_encoding=False), html.unescape twice, " ".join(text.split()), lower().
 * fix_encoding, which guesses that text was decoded with the wrong table ("Ã©" for "é"), is left
 * out: such text keeps its characters here. INVALID_ARGUMENT when `text` is not UTF-8, or has HTML
 * references nested 64 deep ("&amp;amp;..."), for which each level would cost a walk over all of it.
 */
aaclip_status aac_clean_text(aac_codepoints *clean, const char *text);

#endif
