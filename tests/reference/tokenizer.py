"""CLIP's byte-pair tokenizer for plain ASCII prompts, after open_clip's SimpleTokenizer."""

import gzip
import json
import re

# For ASCII the pattern of CLIP needs no Unicode classes: letters, single digits, runs of the rest.
WORD = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+", re.I
)


def byte_symbols():
    """One printable character a byte, in the order in which CLIP numbers them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    symbols = {b: chr(b) for b in printable}
    symbols.update({b: chr(256 + i) for i, b in enumerate(others)})
    return symbols


class Tokenizer:
    def __init__(self, path, vocabulary_size=49408):
        """`path`: bpe_simple_vocab_16e6.txt(.gz) or merges.txt; surplus merges are cut."""
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as file:
            lines = file.read().split("\n")[1:]
        merges = [tuple(line.split()) for line in lines[: vocabulary_size - 512 - 2]]
        self.rank = {pair: i for i, pair in enumerate(merges)}
        self.byte = byte_symbols()
        single = list(self.byte.values())
        words = single + [s + "</w>" for s in single] + ["".join(pair) for pair in merges]
        self.id = {word: i for i, word in enumerate(words)}
        self.id["<|startoftext|>"] = vocabulary_size - 2
        self.id["<|endoftext|>"] = vocabulary_size - 1

    def split(self, word):
        """A word's symbols after all merges, lowest rank first."""
        parts = [self.byte[b] for b in word.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pair = min(zip(parts, parts[1:]), key=lambda p: self.rank.get(p, float("inf")))
            if pair not in self.rank:
                break
            merged, i = [], 0
            while i < len(parts):
                width = 2 if tuple(parts[i : i + 2]) == pair else 1
                merged.append("".join(parts[i : i + width]))
                i += width
            parts = merged
        return parts

    def encode(self, text):
        if not text.isascii():
            raise ValueError(f"only ASCII prompts are handled here: {text!r}")
        ids = [self.id["<|startoftext|>"]]
        for word in WORD.findall(" ".join(text.split()).lower()):
            ids += (
                [self.id[word]]
                if word in ("<|startoftext|>", "<|endoftext|>")
                else [self.id[part] for part in self.split(word)]
            )
        return ids + [self.id["<|endoftext|>"]]


def read_prompts(path, phrase):
    """{"normal", "abnormal", "templates"} of a JSON file -> (normal prompts, abnormal prompts)."""
    with open(path, encoding="utf-8") as file:
        prompts = json.load(file)

    def fill(states):
        filled = [state.replace("{}", phrase) for state in states]
        return [t.replace("{}", state) for state in filled for t in prompts["templates"]]

    return fill(prompts["normal"]), fill(prompts["abnormal"])
