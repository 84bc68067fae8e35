"""Full-size ViT-L/14-336 with random weights, in every layout and both profiles, against PyTorch.

    python3 test_full_size.py aaclip-detect write_features write_position HAS_JPEG

The first layout is compared with PyTorch in double precision, output by output; the others, which
hold the same numbers, must give the same bits. Needs PyTorch, NumPy and Pillow, 3 GB of disk in
$TMPDIR, 8 GB of memory and some minutes. CLIP's vocabulary comes from $AACLIP_VOCABULARY or from
an installed open_clip or clip; without them one of the same size is made.
"""

import gzip
import itertools
import os
import shutil
import string
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "reference"))
try:
    import torch

    import checkpoint_layouts as layouts
    import compare_full_size as judge
    from aaclip_torch import resample_position
    from make_checkpoints import CONFIGS, LAYOUTS, write_adapters, write_layouts
    from tokenizer import Tokenizer, read_prompts
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SHAPE = CONFIGS["vit-l-14-336"]
SEED = 11
IMAGE_SIZE = 518
GRID = IMAGE_SIZE // SHAPE.patch
PHOTOS = [TESTS / "golden" / "images" / name for name in ("chelsea.png", "chelsea.jpg")]
PHRASE = "metal nut which has four notched edges"
MERGES = SHAPE.vocabulary - 512 - 2
UNSUPPORTED = 3  # write_features: the backend lacks the precision

# Profile -> its domain here. Each has the prompts that the library has built in.
DOMAINS = {"document": "Medical", "published": "Industrial"}

# Largest difference over largest value, as in test_golden.c.
POSITION_BOUND = 1e-5
F32_BOUNDS = {"features": 2e-5, "map": 2e-5, "score": 2e-5}
BF16_BOUNDS = {"features": 0.02, "map": 0.02, "score": 0.002}


class Report:
    """Prints every comparison as it is made; keeps the worst of each output and what failed."""

    def __init__(self):
        self.failures, self.skips, self.worst = [], [], {}

    def check(self, passed, words):
        print(f"{'ok' if passed else 'FAILED'}: {words}", flush=True)
        if not passed:
            self.failures.append(words)

    def skip(self, words):
        print(f"skipped: {words}", flush=True)
        self.skips.append(words)

    def compare(self, label, precision, name, found, expected, bound):
        error = judge.compare(found, expected)
        key = (precision, name.rstrip(string.digits + "."))
        self.worst[key] = max(error, self.worst.get(key, 0))
        self.check(error <= bound, f"{label} {precision} {name}: {error:.1e} (bound {bound:g})")

    def finish(self):
        for (precision, name), error in self.worst.items():
            print(f"worst {precision} {name}: {error:.1e}")
        for words in self.skips:
            print(f"skipped: {words}")
        for words in self.failures:
            print(f"FAILED: {words}")
        return 1 if self.failures else 0


def installed_vocabulary():
    """The file of $AACLIP_VOCABULARY, of open_clip or of clip; None without them."""
    if os.environ.get("AACLIP_VOCABULARY"):
        return Path(os.environ["AACLIP_VOCABULARY"])
    for package in ("open_clip", "clip"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(folder) / "bpe_simple_vocab_16e6.txt.gz"
            if file.exists():
                return file
    return None


def capitals():
    """Merges that make every word of capital letters, short ones first."""
    for length in itertools.count(2):
        for letters in itertools.product(string.ascii_uppercase, repeat=length):
            yield "".join(letters[:-1]) + " " + letters[-1]


def make_vocabulary(path):
    """
    As many merges as CLIP has: the first of CLIP's, after ones of capital letters. Prompts have no
    capitals once they are tokenized, and the tokens that they use get the largest ids.
    """
    with gzip.open(TESTS / "golden" / "text" / "small.txt.gz", "rt", encoding="utf-8") as file:
        header, *merges = file.read().split("\n")
    filling = itertools.islice(capitals(), MERGES - len(merges))
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([header, *filling, *merges]))
    return path


class Setting:
    """What all layouts share: programs, photos, vocabulary and each profile's adapters."""

    def __init__(self, folder, detect, write_features, write_position, has_jpeg):
        self.folder = folder
        self.detect = detect
        self.write_features = write_features
        self.write_position = write_position
        self.photos = PHOTOS if has_jpeg else PHOTOS[:1]
        self.vocabulary = installed_vocabulary()
        print(f"vocabulary: {self.vocabulary or 'made here'}")
        if not self.vocabulary:
            self.vocabulary = make_vocabulary(folder / "vocabulary.txt.gz")
        for profile in DOMAINS:
            write_adapters(self.adapters(profile), SHAPE, profile, SEED)

    def adapters(self, profile):
        return self.folder / f"adapters-{profile}"

    @staticmethod
    def prompts(profile):
        return TESTS / "reference" / f"prompts-{profile}.json"


def call(*command, text=None):
    """Runs a program that must succeed, or end with UNSUPPORTED."""
    result = subprocess.run(
        list(map(str, command)), input=text, capture_output=True, text=True, check=False
    )
    if result.returncode not in (0, UNSUPPORTED):
        sys.exit(f"FAILED: {' '.join(map(str, command))}: {result.returncode}: {result.stderr}")
    return result


def run_detect(setting, model, profile, photos):
    """aaclip-detect: ([(score, map)], the file of text vectors)."""
    out = Path(tempfile.mkdtemp(dir=setting.folder))
    adapters = setting.adapters(profile)
    call(
        setting.detect, "--model", model, "--vocab", setting.vocabulary,
        "--adapters", adapters / "text_adapter.pth",
        "--adapters", adapters / "image_adapter_20.pth",
        "--class", "object", "--phrase", PHRASE, "--domain", DOMAINS[profile].lower(),
        "--text-cache", out / "text.safetensors",
        "--out", out, "--raw", "--json", out / "result.json", *photos,
    )  # fmt: skip
    scores = [image["score"] for image in layouts.read_json(out / "result.json")["images"]]
    # Pictures of one name are told apart by a number.
    maps = [out / f"chelsea{end}_map.npy" for end in ("", "-2")[: len(photos)]]
    results = list(zip(map(torch.tensor, scores), map(judge.read_array, maps)))
    vectors = (out / "text.safetensors").read_bytes()
    shutil.rmtree(out)
    return results, vectors


def run_features(setting, model, profile, precision, photos):
    """write_features: (features of each photo, ids of each prompt), or why it is unsupported."""
    folders = [Path(tempfile.mkdtemp(dir=setting.folder)) for _ in photos]
    adapters = setting.adapters(profile)
    prompts = itertools.chain(*read_prompts(setting.prompts(profile), PHRASE))
    result = call(
        setting.write_features, model, precision, "auto", adapters / "text_adapter.pth",
        adapters / "image_adapter_20.pth", setting.vocabulary, PHRASE,
        DOMAINS[profile].lower(), *itertools.chain(*zip(photos, folders)),
        text="\n".join(prompts),
    )  # fmt: skip
    if result.returncode == UNSUPPORTED:
        return None, result.stderr.strip()
    features = [judge.read_features(folder) for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)
    return features, [list(map(int, line.split())) for line in result.stdout.splitlines()]


def compare_features(report, label, precision, found, expected, bounds):
    report.check(
        found.keys() == expected.keys(), f"{label} {precision} outputs: {', '.join(sorted(found))}"
    )
    for name in sorted(found.keys() & expected.keys()):
        bound = bounds.get(name, bounds["features"])
        report.compare(label, precision, name, found[name], expected[name], bound)


def compare_position(report, setting, model, clip):
    path = setting.folder / "position.npy"
    call(setting.write_position, model, GRID, path)
    expected = resample_position(clip.visual.positional_embedding, GRID)
    found = judge.read_array(path)
    report.compare("position", "f32", "vision.position", found, expected, POSITION_BOUND)


def compare_tokens(report, setting, profile, found):
    tokenizer = Tokenizer(setting.vocabulary, SHAPE.vocabulary)
    prompts = list(itertools.chain(*read_prompts(setting.prompts(profile), PHRASE)))
    expected = [tokenizer.encode(prompt) for prompt in prompts]
    largest = max(max(row[1:-1]) for row in expected)
    words = f"{profile} tokens of {len(prompts)} prompts are equal, largest id {largest}"
    report.check(found == expected, words)


def compare_bf16(report, setting, model, profile, expected):
    photo = setting.photos[0]
    features, ids = run_features(setting, model, profile, "bf16", [photo])
    if features is None:
        report.skip(f"{profile} bf16: {ids}")
        return
    compare_features(
        report, f"{profile} {photo.name}", "bf16", features[0], expected[photo], BF16_BOUNDS
    )


def compare_profile(report, setting, model, profile, detected):
    """`detected`: (score, map) of each photo, from aaclip-detect."""
    network = layouts.load_model(str(model), str(setting.adapters(profile)), profile).double()
    tokenizer = Tokenizer(setting.vocabulary, SHAPE.vocabulary)
    pair = judge.class_pair(network, tokenizer, setting.prompts(profile), PHRASE)
    expected = {
        photo: judge.expected_outputs(network, pair, photo, IMAGE_SIZE, DOMAINS[profile])
        for photo in setting.photos
    }
    features, ids = run_features(setting, model, profile, "f32", setting.photos)
    compare_tokens(report, setting, profile, ids)
    for photo, found, (score, map_) in zip(setting.photos, features, detected):
        label = f"{profile} {photo.name}"
        compare_features(report, label, "f32", found, expected[photo], F32_BOUNDS)
        same = torch.equal(found["map"], map_) and found["score"].item() == score.item()
        report.check(same, f"{label}: the program gives the bits of the library")
    if profile == "document":
        compare_position(report, setting, model, network.clip)
    compare_bf16(report, setting, model, profile, expected)


def compare_layout(report, setting, layout, model, profile, first):
    """The bits of the first photo against those of the first layout."""
    results, vectors = run_detect(setting, model, profile, setting.photos[:1])
    (score, map_), (first_results, first_vectors) = results[0], first
    same = {
        "score": torch.equal(score, first_results[0][0]),
        "map": torch.equal(map_, first_results[0][1]),
        "text vectors": vectors == first_vectors,
    }
    differing = [name for name, equal in same.items() if not equal]
    words = f"{', '.join(differing)} differ" if differing else "the bits of the first layout"
    report.check(not differing, f"{profile} {layout}: {words}")


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def run(setting, report):
    first = {}
    paths = write_layouts(str(setting.folder), SHAPE, SEED, LAYOUTS, "quick_gelu")
    for layout, path in zip(LAYOUTS, map(Path, paths)):
        for profile in DOMAINS:
            if layout == next(iter(LAYOUTS)):
                first[profile] = run_detect(setting, path, profile, setting.photos)
                compare_profile(report, setting, path, profile, first[profile][0])
            else:
                compare_layout(report, setting, layout, path, profile, first[profile])
        remove(path)


def main():
    detect, write_features, write_position, has_jpeg = sys.argv[1:]
    report = Report()
    with tempfile.TemporaryDirectory(prefix="aaclip-slow-") as folder, torch.no_grad():
        setting = Setting(
            Path(folder), detect, write_features, write_position, has_jpeg == "1"
        )
        if has_jpeg != "1":
            report.skip("JPEG: this build does not read it")
        run(setting, report)
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
