"""CLIP's own tokenizer as the judge, and the texts that it judges.

The judge is a file of OpenAI's or open_clip's package: `clip/simple_tokenizer.py` or
`open_clip/tokenizer.py`. Its imports (ftfy, regex; for open_clip also numpy, torch) must be there.
"""
import html
import html.entities
import importlib.util
import random
import unicodedata

import ftfy

# First and last code point of the blocks that texts are drawn from.
BLOCKS = [
    (0x20, 0x7E), (0x01, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F),
    (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF),
    (0x900, 0x97F), (0xE00, 0xE7F), (0xF00, 0xFFF), (0x10A0, 0x10FF), (0x1100, 0x11FF),
    (0x13A0, 0x13FF), (0x1680, 0x169F), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F),
    (0x2070, 0x209F), (0x20A0, 0x20CF), (0x2100, 0x218F), (0x2190, 0x22FF), (0x2460, 0x24FF),
    (0x2600, 0x27BF), (0x2C00, 0x2C5F), (0x3000, 0x30FF), (0x3130, 0x318F), (0x4E00, 0x9FFF),
    (0xA640, 0xA7FF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFE00, 0xFE6F),
    (0xFF00, 0xFFFF), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F100, 0x1F1FF),
    (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE007F),
]

FRAGMENTS = [
    "'s", "'T", "'re", "'Ve", "'m", "'LL", "'d", "'\u017f", "\u2019s", "can't", "They'll",
    "<|startoftext|>", "<|EndOfText|>", "<|\u017ftartoftext|>", "<", ">", "&", "#", ";", "&#", "&#x",
    "&amp;", "&amp", "&AMP;", "&amp;amp;lt;", "&notin;", "&notit;", "&not", "&EACUTE;", "&SZLIG;",
    "&FFLIG;", "&copyright", "&nbsp;", "&#39;", "&#x27;", "&#8217", "&#150;", "&#x1F600;", "&#xD800;",
    "&#99999999999;", "&#0;", "&#1;", "&#59;", "&#xfb05;", "&#13;", "&#xFDD0;", "&#12ab;",
    "&unknown;", "&amp;#x26;amp;", "\r\n", "\r", "\n", "\t", "\v", "\f", "\x85", "\u2028", "\u3000",
    "\u200b", "\u00ad", "\ufeff", "\x1b[31m", "\x1b[1;32m", "\x1b[", "\x1b", "\x1c", "\x7f", "\u180e",
    "\u03a3", "\u0391\u03a3", "\u03a3\u0301", "\u03a3.", "\u03a3\u2019", "\u0130", "\u0131", "\u1e9e", "\u212a", "\u212b",
    "\u0345", "\u03b1\u0345", "e\u0301", "\u0301", "q\u0323\u0307", "\u1112\u1161\u11ab", "\uff76\uff9e", "\ufb03",
    "\u01c5", "\u0132", "\u0149", "\uff21\uff11", "\u201cquoted\u201d", "\u2018x\u2019", "\u00bd", "\u2167", "\u2460", "2\u2074",
    "\u0663", "3.14", "1,000", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "\u0e20\u0e32\u0e29\u0e32",
    "\u0627\u0644\u0639\u064e\u0631\u0628\u064a\u0629", "\u6f22\u5b57", "\ud55c\uae00", "naive cafe\u0301", "a photo of the", "Damaged",
    "metal_nut", "pcb1", "pipe-shaped", "https://example.org/?a=1&lt=2", "x" * 40, "</w>", "...", "!?",
]


def load_judge(module_path, vocabulary, keep_mojibake_repair=False):
    """A SimpleTokenizer of the module; ftfy's guess at wrong encodings is off unless asked for."""
    spec = importlib.util.spec_from_file_location("judge", module_path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tokenizer = module.SimpleTokenizer(vocabulary)

    class Ftfy:
        @staticmethod
        def fix_text(text):
            return ftfy.fix_text(text, fix_encoding=keep_mojibake_repair)

    module.ftfy = Ftfy
    return tokenizer


def special_ids(judge):
    """Ids of the start and the end of a text."""
    return len(judge.encoder) - 2, len(judge.encoder) - 1


def is_judged(text, judge):
    """
    Leaves out characters that the judge's and the library's Unicode may know differently. And
    open_clip calls its special tokens otherwise: texts that spell them out are left out there.
    """
    plain = html.unescape(html.unescape(ftfy.fix_text(text, fix_encoding=False)))
    if any(unicodedata.category(character) == "Cn" for character in plain):
        return False
    return "<|startoftext|>" in judge.encoder or "|>" not in plain


def is_known(codepoint):
    """Assigned in the Unicode of this Python, and no surrogate."""
    return unicodedata.category(chr(codepoint)) not in ("Cn", "Cs")


def random_character(rng):
    while True:
        codepoint = rng.randint(*rng.choice(BLOCKS))
        if is_known(codepoint):
            return chr(codepoint)


def random_piece(rng):
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(FRAGMENTS)
    if kind < 0.5:
        return "&" + rng.choice(list(html.entities.html5)) + rng.choice(["", "", "x", " "])
    if kind < 0.6:
        return " " * rng.randint(1, 2)
    if kind < 0.8:
        return "".join(rng.choice("etaoinshrdlucmfwypvbgkjqxzETAOIN") for _ in range(rng.randint(1, 9)))
    return "".join(random_character(rng) for _ in range(rng.randint(1, 4)))


def random_texts(count, seed, longest=12):
    rng = random.Random(seed)
    return ["".join(random_piece(rng) for _ in range(rng.randint(1, longest)))
            for _ in range(count)]


def codepoint_texts():
    """Every assigned character inside a word, alone, and beside a sigma that may end a word."""
    return [f"a{chr(c)}b {chr(c)} A{chr(c)}\u03a3 {chr(c)}\u03a3. A\u03a3{chr(c)} A\u03a3{chr(c)}a"
            for c in range(1, 0x110000) if is_known(c)]
