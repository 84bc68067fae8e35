"""Detection with a random model: text vectors, features, map and score against PyTorch."""

from dataclasses import dataclass

from random_models import (
    CLASS_NAMES,
    CuttingTokenizer,
    TESTS,
    draw_backend,
    draw_config,
    draw_pixels,
    load_judge,
    resolve_defaults,
    write_adapters,
    write_checkpoint,
    write_picture,
    write_prompts,
)

import numpy
import torch

import aaclip
import compare_full_size as reference

# Domain -> patches a side that its blur needs.
SMALLEST_GRID = {"Industrial": 4, "Medical": 5}
SIDES = (*[("text", "image")] * 4, ("text",), ("image",), ())
TOLERANCE = 2e-5  # as in test_golden.c


@dataclass(frozen=True)
class DetectionCase:
    """What is drawn, and the files that hold it."""

    checkpoint: object
    config: aaclip.Config
    given: bool  # whether the library gets the configuration, or tells it from the adapters
    files: dict  # side -> adapters
    prompts: object  # path; None: the profile's
    backend: str
    threads: int
    domain: str
    image_size: int
    pictures: list  # (path, pixels, class name)

    @property
    def resolved(self):
        return resolve_defaults(self.config, self.checkpoint.shape)

    @property
    def prompt_file(self):
        profile = self.config.profile.name.lower()
        return self.prompts or TESTS / "reference" / f"prompts-{profile}.json"

    def judge(self, dtype):
        return load_judge(self.checkpoint, self.resolved, self.files, dtype)


def tells_config(config, shape, files):
    """Whether adapter files say all of it: a profile's own, and layers of both sides."""
    resolved = resolve_defaults(config, shape)
    layers = resolved.image_adapter_layers and resolved.text_adapter_layers
    return len(files) == 2 and layers and config == aaclip.Config.of_profile(config.profile)


def draw_case(rng, folder):
    checkpoint = write_checkpoint(rng, folder)
    shape = checkpoint.shape
    config = draw_config(rng, shape)
    files = write_adapters(rng, folder, resolve_defaults(config, shape), shape, rng.choice(SIDES))
    domain = rng.choice(list(SMALLEST_GRID))
    size = shape.patch * rng.randint(SMALLEST_GRID[domain], 9)
    pictures = []
    for name in rng.sample(CLASS_NAMES, 2):
        pixels = draw_pixels(rng, size)
        path = write_picture(folder / f"{len(pictures)}.png", pixels)
        pictures.append((path, pixels, name))
    return DetectionCase(
        checkpoint=checkpoint,
        config=config,
        given=not tells_config(config, shape, files) or rng.random() < 0.3,
        files=files,
        prompts=write_prompts(rng, folder) if rng.random() < 0.5 else None,
        backend=draw_backend(rng),
        threads=rng.choice((1, 2)),
        domain=domain,
        image_size=size,
        pictures=pictures,
    )


def open_detector(case):
    """(detector, text cache)"""
    model = aaclip.Model.open(case.checkpoint.path, backend=case.backend, threads=case.threads)
    adapters = None
    if case.files:
        config = case.config if case.given else None
        adapters = model.adapters(*case.files.values(), config=config)
    texts = aaclip.TextCache(
        model, adapters, prompts=case.prompts, config=None if adapters else case.config,
        truncate=True,
    )  # fmt: skip
    texts.build([name for _, _, name in case.pictures])
    detector = aaclip.Detector(
        model, texts, adapters, domain=case.domain.lower(), image_size=case.image_size,
        keep_features=True,
    )  # fmt: skip
    return detector, texts


def vectors_of(texts, name):
    """[normal, abnormal] (2, E)"""
    return torch.from_numpy(numpy.stack(texts[name]))


def found_outputs(case, result, pair):
    """The names of reference.expected_outputs."""
    outputs = {
        "map": torch.from_numpy(result.map),
        "score": torch.tensor(result.score, dtype=torch.double),
        "det_token": torch.from_numpy(result.detection_feature),
        "text.pair": pair,
    }
    for level, features in zip(case.resolved.levels, result.patch_features):
        outputs[f"seg_tokens.{level}"] = torch.from_numpy(features).flatten(0, 1)
    return outputs


def expected_outputs(case, model, picture, pair):
    """`pair` as the library has it decides map and score, so that each output errs by itself."""
    path, _, name = picture
    dtype = model.clip.logit_scale.dtype
    outputs = reference.expected_outputs(
        model, pair.to(dtype), path, case.image_size, case.domain
    )
    tokenizer = CuttingTokenizer(case.checkpoint.shape.context)
    phrase = name.replace("_", " ")
    outputs["text.pair"] = reference.class_pair(model, tokenizer, case.prompt_file, phrase)
    return outputs


def check_batch(report, detector, case, results):
    for (_, pixels, name), result in zip(case.pictures, results):
        single = detector.detect(pixels, name)
        same = single.score == result.score and numpy.array_equal(single.map, result.map)
        report.check(same, "a picture alone gives the bits that it gives in a batch")


@torch.no_grad()
def compare_detection(report, rng, folder):
    """Draws a case and compares it."""
    case = draw_case(rng, folder)
    report.describe(case)
    detector, texts = open_detector(case)
    names = [name for _, _, name in case.pictures]
    results = detector.detect_batch([pixels for _, pixels, _ in case.pictures], names)
    check_batch(report, detector, case, results)
    models = {torch.double: case.judge(torch.double)}

    def expected(dtype, picture, pair):
        if dtype not in models:
            models[dtype] = case.judge(dtype)
        return expected_outputs(case, models[dtype], picture, pair)

    for picture, result in zip(case.pictures, results):
        pair = vectors_of(texts, picture[2])
        found = found_outputs(case, result, pair)
        report.compare(
            "detection", found, lambda dtype: expected(dtype, picture, pair), TOLERANCE
        )
