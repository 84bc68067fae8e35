"""Metrics of the library, judged by scikit-learn, SciPy and an independent AUPRO.

    python3 test_metrics.py print_metrics
"""

import json
import subprocess
import sys
import unittest

try:
    import numpy
    import scipy  # noqa: F401
    import sklearn  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import metric_judge

CASES = 600
PIXEL_METRICS = ["pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_30", "aupro_05"]


def run(cases):
    done = subprocess.run([PRINT_METRICS], input=json.dumps(cases), capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise AssertionError(done.stderr or f"exit status {done.returncode}")
    return json.loads(done.stdout)


def smooth_case(random, images=5, side=40, **more):
    """Continuous maps and a blob in every other image: many distinct thresholds."""
    listed = []
    for number in range(images):
        mask = numpy.zeros((side, side), numpy.uint8)
        if number % 2:
            y, x = random.integers(0, side - 8, 2)
            mask[y:y + 8, x:x + random.integers(2, 8)] = 1
        values = random.normal(size=mask.shape) + 1.2 * mask
        listed.append({
            "class": "nut", "label": number % 2, "score": float(random.normal()), "width": side,
            "height": side, "map": values.astype(numpy.float32).ravel().astype(float).tolist(),
            "mask": mask.ravel().tolist(),
        })
    return {"mode": "exact", "domain": "industrial", "images": listed} | more


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        random = numpy.random.default_rng(1)
        cls.cases = [metric_judge.random_case(random) for _ in range(CASES)]
        cls.judged = [metric_judge.judge(case) for case in cls.cases]

    def agrees(self, case, found, judged, tolerance=1e-9):
        self.assertEqual(found.keys() - {"curves"}, judged.keys())
        for name, values in judged.items():
            for metric, expected in values.items():
                with self.subTest(name=name, metric=metric, case=case):
                    value = found[name][metric]
                    if expected is None or metric in metric_judge.COUNTS:
                        self.assertEqual(value, expected)
                    else:
                        self.assertIsNotNone(value)
                        self.assertLessEqual(abs(value - expected), tolerance)

    def test_cases_cover_what_they_should(self):
        values = [values for judged in self.judged for values in judged.values()]
        for metric in PIXEL_METRICS + ["image_auroc", "dataset_ap"]:
            absent = sum(value[metric] is None for value in values)
            self.assertGreater(absent, 20, metric)
            self.assertGreater(len(values) - absent, 300, metric)
        self.assertGreater(sum(value["abnormal_pixels"] == 0 for value in values), 5)
        self.assertGreater(sum(value["normal_pixels"] == 0 for value in values), 5)

    def test_exact(self):
        for case, found, judged in zip(self.cases, run(self.cases), self.judged):
            self.agrees(case, found, judged)
            for values in found.values():
                for metric in PIXEL_METRICS:
                    if values.get(metric) is not None:
                        self.assertEqual(values[f"{metric}_error"], 0)

    def test_merged(self):
        cases = [case | {"parts": 2 + number % 3} for number, case in enumerate(self.cases)]
        for case, found, judged in zip(cases, run(cases), self.judged):
            self.agrees(case, found, judged)

    def test_thresholds(self):
        """F1 at the threshold that is named is the largest one."""
        for case, found in zip(self.cases, run(self.cases)):
            for name in found.keys() - {"mean", "curves"}:
                threshold = found[name]["pixel_f1_threshold"]
                if threshold is None:
                    continue
                known = [metric_judge.arrays_of(image) for image in case["images"]
                         if image["class"] == name]
                known = [(values, mask != 0) for values, mask in known if mask is not None]
                hits = sum(numpy.sum(mask & (values >= threshold)) for values, mask in known)
                called = sum(numpy.sum(values >= threshold) for values, _ in known)
                f1 = 2 * hits / (called + sum(numpy.sum(mask) for _, mask in known))
                self.assertAlmostEqual(f1, found[name]["pixel_f1_max"], delta=1e-12)

    def test_published_evaluation(self):
        """Its formula as a whole, on maps stretched in float32, to the digits that it prints."""
        random = numpy.random.default_rng(4)
        for domain in ("industrial", "medical"):
            case = smooth_case(random, images=12, domain=domain)
            known = [metric_judge.arrays_of(image) for image in case["images"]]
            maps = metric_judge.stretch(numpy.stack([values for values, _ in known]))
            masks = numpy.stack([mask for _, mask in known])
            scores = numpy.array([image["score"] for image in case["images"]], numpy.float32)
            labels = numpy.array([image["label"] for image in case["images"]])
            largest = maps.max(axis=(1, 2))
            final = 0.5 * largest + 0.5 * metric_judge.stretch(scores)
            found = run([case])[0]["nut"]
            for kind, expected in (
                ("pixel", metric_judge.judge_scores(masks.ravel(), maps.ravel())),
                ("dataset", metric_judge.judge_scores(
                    labels, final if domain == "industrial" else largest)),
            ):
                for metric in ("auroc", "ap"):
                    self.assertEqual(round(found[f"{kind}_{metric}"], 4),
                                     round(expected[metric], 4))

    def within_stated_error(self, found, judged):
        for name in judged.keys() - {"mean"}:
            for metric in PIXEL_METRICS:
                expected, value = judged[name][metric], found[name][metric]
                if expected is None:
                    self.assertIsNone(value)
                    continue
                error = found[name][f"{metric}_error"]
                with self.subTest(metric=metric, error=error):
                    self.assertLessEqual(abs(value - expected), error + 1e-9)

    def test_histogram(self):
        for bins in (2, 16, 1000):
            for parts in (1, 3):
                more = {"mode": "histogram", "bins": bins, "parts": parts}
                cases = [case | more for case in self.cases]
                for found, judged in zip(run(cases), self.judged):
                    self.within_stated_error(found, judged)
                    for name in judged:
                        for metric in judged[name].keys() & metric_judge.COUNTS:
                            self.assertEqual(found[name][metric], judged[name][metric])

    def test_histogram_error_shrinks_with_bins(self):
        random = numpy.random.default_rng(2)
        case = smooth_case(random)
        judged = metric_judge.judge(case)
        counts = (64, 1024, 16384, 1 << 20)
        answers = run([case | {"mode": "histogram", "bins": bins} for bins in counts])
        for metric in PIXEL_METRICS:
            errors = [found["nut"][f"{metric}_error"] for found in answers]
            self.assertEqual(errors, sorted(errors, reverse=True))
            self.assertGreater(errors[0], 10 * errors[2])
            self.assertLess(errors[2], 0.01)
        for found in answers:
            self.within_stated_error(found, judged)

    def area(self, points):
        x, y = numpy.array([point[:2] for point in points]).T
        return float(numpy.sum(numpy.diff(x) * (y[1:] + y[:-1]) / 2))

    def test_curves(self):
        random = numpy.random.default_rng(3)
        for capacity in (8, 50, 400, 10000):
            case = smooth_case(random, images=9, points=capacity)
            found = run([case])[0]
            curves, values = found["curves"]["nut"], found["nut"]
            known = [metric_judge.arrays_of(image) for image in case["images"]]
            fpr, pro = metric_judge.pro_curve(*zip(*known))
            pro_area = float(numpy.sum(numpy.diff(fpr) * (pro[1:] + pro[:-1]) / 2))
            for kind, area in (("pixel_roc", values["pixel_auroc"]), ("pixel_pro", pro_area),
                               ("image_roc", values["image_auroc"]),
                               ("dataset_roc", values["dataset_auroc"])):
                points = curves[kind]
                self.assertEqual(points[0], [0, 0, None])
                numpy.testing.assert_allclose(points[-1][:2], [1, 1], atol=1e-12)
                self.assertLessEqual(len(points), capacity)
                self.assertLess(abs(self.area(points) - area), 1 / (capacity - 3))
            for kind, area in (("pixel_pr", values["pixel_ap"]), ("image_pr", values["image_ap"]),
                               ("dataset_pr", values["dataset_ap"])):
                x, y, _ = numpy.array(curves[kind]).T
                self.assertLessEqual(len(x), capacity)
                self.assertTrue((numpy.diff(x) > 0).all())
                self.assertAlmostEqual(numpy.sum(numpy.diff(x, prepend=0) * y), area, delta=1e-9)
            self.on_the_curve(known, curves["pixel_roc"])

    def on_the_curve(self, known, points):
        scores = numpy.concatenate([values.ravel() for values, _ in known])
        labels = numpy.concatenate([mask.ravel() != 0 for _, mask in known])
        for x, y, threshold in points[1:]:
            called = scores >= threshold
            self.assertAlmostEqual(x, numpy.mean(called[~labels]), delta=1e-12)
            self.assertAlmostEqual(y, numpy.mean(called[labels]), delta=1e-12)


if __name__ == "__main__":
    PRINT_METRICS = sys.argv.pop(1)
    unittest.main()
