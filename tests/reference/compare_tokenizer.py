#!/usr/bin/env python3
"""Compares ids with CLIP's own tokenizer on random texts; exit status 1 when any text differs."""
import argparse
import subprocess
import sys

import clip_tokenizer


def library_ids(program, vocabulary, size, texts):
    command = [program, vocabulary, str(size), "100000"]
    output = subprocess.run(command, input=b"".join(text.encode() + b"\0" for text in texts),
                            stdout=subprocess.PIPE, check=True).stdout
    return output.decode().splitlines()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="print_ids of the build's tests/unit/text")
    parser.add_argument("judge", help="clip/simple_tokenizer.py or open_clip/tokenizer.py")
    parser.add_argument("vocabulary", help="bpe_simple_vocab_16e6.txt.gz")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-codepoint", action="store_true")
    parser.add_argument("--mojibake-repair", action="store_true",
                        help="leave ftfy's fix_encoding on, which the library does not have")
    arguments = parser.parse_args()
    judge = clip_tokenizer.load_judge(arguments.judge, arguments.vocabulary,
                                      arguments.mojibake_repair)
    texts = clip_tokenizer.random_texts(arguments.count, arguments.seed)
    if arguments.every_codepoint:
        texts += clip_tokenizer.codepoint_texts()
    texts = [text for text in texts if clip_tokenizer.is_judged(text, judge)]
    start, end = clip_tokenizer.special_ids(judge)
    lines = library_ids(arguments.program, arguments.vocabulary, len(judge.encoder), texts)
    if len(lines) != len(texts):
        sys.exit(f"expected {len(texts)} lines, found {len(lines)}")
    differences = 0
    for text, line in zip(texts, lines):
        expected = " ".join(map(str, [start, *judge.encode(text), end]))
        if line != expected:
            differences += 1
            if differences <= 20:
                print(f"{text!a}\n  expected {expected}\n  found    {line}")
    print(f"{len(texts)} texts, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
