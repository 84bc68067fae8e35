#!/usr/bin/env python3
"""
Makes tests/golden/text, a cut vocabulary and the ids that CLIP's own tokenizer gives, and the
first inputs of the fuzzer, tests/fuzz/text/vocabularies and texts.
"""
import argparse
import gzip
import json
import pathlib
import struct

import clip_tokenizer

SMALL_MERGES = 500


def cut_merges(vocabulary):
    """The header and the first merges, as lines."""
    with gzip.open(vocabulary, "rt", encoding="utf-8") as source:
        return [next(source).rstrip("\n") for _ in range(1 + SMALL_MERGES)]


def write_small_vocabulary(folder, lines):
    """No newline at the end: CLIP's reader would take the empty rest for one more merge."""
    with open(folder / "small.txt.gz", "wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
            packed.write("\n".join(lines).encode())


def write_hugging_face_form(folder, lines, judge):
    """merges.txt and vocab.json with ids in reverse, so that a test sees whether they are read."""
    folder.mkdir(exist_ok=True)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines[1:], ""]))
    last = len(judge.encoder) - 1
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    ids = {names.get(token, token): last - index for token, index in judge.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(ids, indent=0))


def write_cases(path, judge, texts):
    start, end = clip_tokenizer.special_ids(judge)
    cases = [json.dumps([text, [start, *judge.encode(text), end]], separators=(",", ":"))
             for text in texts if clip_tokenizer.is_judged(text, judge)]
    path.write_text("[\n" + ",\n".join(cases) + "\n]\n")


def write_fuzz_input(path, merges, merge_count, text, ids=b""):
    """The form that fuzz_vocabulary.c reads."""
    header = struct.pack("<HHH", merge_count, len(text), len(ids))
    path.write_bytes(header + text + ids + merges)


def write_fuzz_corpus(folder, lines, judge):
    few = 12
    plain = "\n".join(lines[:1 + few]).encode()
    kept = {index if index < 512 + few else index - SMALL_MERGES + few: token
            for token, index in judge.encoder.items() if not 512 + few <= index < 512 + SMALL_MERGES}
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    ids = json.dumps({names.get(token, token): index for index, token in kept.items()})
    folder.mkdir(parents=True, exist_ok=True)
    write_fuzz_input(folder / "plain", plain, few, b"the other thing &amp;lt; x")
    write_fuzz_input(folder / "gzip", gzip.compress(plain, mtime=0), few, b"the inner", b"")
    write_fuzz_input(folder / "ids", plain, few, b"there in the end", ids.encode())


def write_fuzz_texts(folder, longest=150):
    folder.mkdir(parents=True, exist_ok=True)
    parts = [b""]
    for word in " ".join(clip_tokenizer.FRAGMENTS).encode().split(b" "):
        if len(parts[-1]) + len(word) >= longest:
            parts.append(word)
        else:
            parts[-1] = parts[-1] + b" " + word if parts[-1] else word
    for number, part in enumerate(parts, 1):
        (folder / f"fragments-{number}").write_bytes(part)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("judge", help="clip/simple_tokenizer.py or open_clip/tokenizer.py")
    parser.add_argument("vocabulary", help="bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("output", type=pathlib.Path, help="tests/golden/text")
    parser.add_argument("fuzz", type=pathlib.Path, help="tests/fuzz/text")
    arguments = parser.parse_args()
    lines = cut_merges(arguments.vocabulary)
    write_small_vocabulary(arguments.output, lines)
    small = clip_tokenizer.load_judge(arguments.judge, arguments.output / "small.txt.gz")
    write_hugging_face_form(arguments.output / "hugging_face", lines, small)
    full = clip_tokenizer.load_judge(arguments.judge, arguments.vocabulary)
    write_fuzz_corpus(arguments.fuzz / "vocabularies", lines, small)
    write_fuzz_texts(arguments.fuzz / "texts")
    write_cases(arguments.output / "small_cases.json", small,
                clip_tokenizer.FRAGMENTS + clip_tokenizer.random_texts(400, seed=10, longest=8))
    write_cases(arguments.output / "full_cases.json", full,
                clip_tokenizer.FRAGMENTS + clip_tokenizer.random_texts(1500, seed=11, longest=10))


if __name__ == "__main__":
    main()
