"""Metrics of anomaly maps by scikit-learn and SciPy, and random cases to judge the library with.

The judges work on whole arrays and share nothing with the library: AUROC, AP and F1-max are
scikit-learn's, regions are scipy.ndimage.label's, AUPRO is spelled out threshold by threshold, and
the data-set score is the published evaluation's formula in float32.
"""

import numpy
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

VALUES = {"auroc", "ap", "f1_max"}


def judge_scores(labels, scores):
    """AUROC, AP and F1-max; None with one label only."""
    if len(numpy.unique(labels)) < 2:
        return dict.fromkeys(VALUES)
    precision, recall, _ = precision_recall_curve(labels, scores)
    with numpy.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "f1_max": numpy.nanmax(f1),
    }


def pro_curve(maps, masks):
    """(FPR, PRO) at every distinct score, the largest first; None without regions."""
    regions = []
    for values, mask in zip(maps, masks):
        labels, count = ndimage.label(mask, numpy.ones((3, 3)))
        regions += [numpy.sort(values[labels == n + 1]) for n in range(count)]
    normal = numpy.sort(
        numpy.concatenate([values[mask == 0] for values, mask in zip(maps, masks)])
    ) if maps else numpy.zeros(0)
    if not regions or not len(normal):
        return None
    thresholds = numpy.unique(numpy.concatenate([values.ravel() for values in maps]))[::-1]

    def part_found(values):
        return (len(values) - numpy.searchsorted(values, thresholds, "left")) / len(values)

    pro = numpy.mean([part_found(values) for values in regions], axis=0)
    return numpy.r_[0, part_found(normal)], numpy.r_[0, pro]


def aupro(curve, limit):
    if curve is None:
        return None
    fpr, pro = curve
    inside = fpr < limit
    x = numpy.r_[fpr[inside], limit]
    y = numpy.r_[pro[inside], at_limit(fpr, pro, limit)]
    return numpy.sum(numpy.diff(x) * (y[1:] + y[:-1]) / 2) / limit


def at_limit(fpr, pro, limit):
    """Several points may share one FPR: the line to the limit starts at the last below it."""
    after = int(numpy.argmax(fpr >= limit))
    before = after - 1
    part = (limit - fpr[before]) / (fpr[after] - fpr[before])
    return pro[before] + part * (pro[after] - pro[before])


def stretch(values):
    if values.max() == 1:
        return values
    width = values.max() - values.min()
    return (values - values.min()) / width if width > 0 else numpy.zeros_like(values)


def dataset_scores(maps, scores, domain):
    sizes = numpy.cumsum([values.size for values in maps])[:-1]
    stretched = numpy.split(stretch(numpy.concatenate([values.ravel() for values in maps])), sizes)
    largest = numpy.array([values.max() for values in stretched], numpy.float32)
    if domain == "medical":
        return largest
    return numpy.float32(0.5) * largest + numpy.float32(0.5) * stretch(scores)


def arrays_of(image):
    if image["map"] is None:
        return None, None
    shape = image["height"], image["width"]
    values = numpy.array(image["map"], numpy.float32).reshape(shape)
    if image["mask"] is not None:
        return values, numpy.array(image["mask"], numpy.uint8).reshape(shape)
    return values, numpy.zeros(shape, numpy.uint8) if image["label"] == 0 else None


def judge_pixels(images):
    known = [(values, mask) for values, mask in map(arrays_of, images) if mask is not None]
    maps, masks = [values for values, _ in known], [mask for _, mask in known]
    labels = numpy.concatenate([mask.ravel() != 0 for mask in masks] or [numpy.zeros(0)])
    scores = numpy.concatenate([values.ravel() for values in maps] or [numpy.zeros(0)])
    curve = pro_curve(maps, masks)
    judged = {f"pixel_{name}": value for name, value in judge_scores(labels, scores).items()}
    judged["aupro_30"], judged["aupro_05"] = aupro(curve, 0.3), aupro(curve, 0.05)
    judged["normal_pixels"] = int((labels == 0).sum())
    judged["abnormal_pixels"] = int((labels != 0).sum())
    judged["regions"] = sum(ndimage.label(mask, numpy.ones((3, 3)))[1] for mask in masks)
    return judged


def judge_images(images, domain):
    labels = numpy.array([image["label"] for image in images])
    scores = numpy.array([image["score"] for image in images], numpy.float32)
    labelled = labels >= 0
    judged = {f"image_{name}": value
              for name, value in judge_scores(labels[labelled], scores[labelled]).items()}
    maps = [arrays_of(image)[0] for image in images]
    if any(values is None for values in maps):
        dataset = dict.fromkeys(VALUES)
    else:
        dataset = judge_scores(labels[labelled], dataset_scores(maps, scores, domain)[labelled])
    judged |= {f"dataset_{name}": value for name, value in dataset.items()}
    judged["images"] = len(images)
    judged["normal_images"] = int((labels == 0).sum())
    judged["abnormal_images"] = int((labels == 1).sum())
    return judged


COUNTS = {"images", "normal_images", "abnormal_images", "normal_pixels", "abnormal_pixels",
          "regions"}


def mean_of(classes):
    mean = {}
    for name in next(iter(classes.values())):
        values = [judged[name] for judged in classes.values() if judged[name] is not None]
        if name in COUNTS:
            mean[name] = sum(values)
        else:
            mean[name] = sum(values) / len(values) if values else None
    return mean


def judge(case):
    """{class: {metric: value or None}, "mean": ...}, without thresholds and errors."""
    by_class = {}
    for image in case["images"]:
        by_class.setdefault(image["class"], []).append(image)
    judged = {name: judge_pixels(images) | judge_images(images, case["domain"])
              for name, images in by_class.items()}
    judged["mean"] = mean_of(judged)
    return {name: {key: value if value is None or key in COUNTS else float(value)
                   for key, value in values.items()} for name, values in judged.items()}


def random_map(random, height, width, mask):
    kind = random.integers(6)
    values = random.normal(size=(height, width)) + random.uniform(0, 2) * (mask != 0)
    if kind == 0:
        values = numpy.round(values * 2) / 2
    elif kind == 1:
        values = random.integers(0, 3, (height, width)) / 2
    elif kind == 2:
        values = numpy.full((height, width), random.normal())
    elif kind == 3:
        values = values * 10.0 ** random.integers(-20, 20)
    elif kind == 4:
        values = numpy.where(values > 0, 0.0, -0.0) - (values < -1)
    return values.astype(numpy.float32)


def random_mask(random, height, width):
    kind = random.integers(5)
    if kind == 0:
        return numpy.zeros((height, width), numpy.uint8)
    if kind == 1:
        return numpy.full((height, width), 255, numpy.uint8)
    if kind == 2:
        mask = numpy.zeros((height, width), numpy.uint8)
        y, x = random.integers(height), random.integers(width)
        mask[y:y + 3, x:x + 4] = 1
        return mask
    return (random.random((height, width)) < random.choice([0.1, 0.4, 0.6])).astype(numpy.uint8)


def random_image(random, name, label, side):
    width, height = (int(n) for n in random.integers(1, side, 2))
    mask = random_mask(random, height, width)
    values = random_map(random, height, width, mask)
    score = random.normal() if random.random() < 0.6 else random.integers(0, 4) / 3
    image = {
        "class": name,
        "label": label,
        "score": shortest(score),
        "width": width,
        "height": height,
        "map": [shortest(value) for value in values.ravel()],
        "mask": mask.ravel().tolist() if random.random() < 0.8 else None,
    }
    if random.random() < 0.02:
        image |= {"width": 0, "height": 0, "map": None, "mask": None}
    return image


def shortest(value):
    """With the digits that a float32 needs."""
    return float(str(numpy.float32(value)))


def random_case(random, side=12):
    """One to three classes of one to seven images, all of one label in a fifth of the classes."""
    images = []
    for name in ["nut", "cable", "wood"][:int(random.integers(1, 4))]:
        labels = random.integers(-1 if random.random() < 0.2 else 0, 2, random.integers(1, 8))
        if random.random() < 0.2:
            labels[:] = random.integers(2)
        images += [random_image(random, name, int(label), side) for label in labels]
    random.shuffle(images)
    return {"mode": "exact", "domain": str(random.choice(["industrial", "medical"])),
            "images": images}
