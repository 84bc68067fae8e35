"""What compare.py writes, from figures made up here."""

import tempfile
import unittest
from pathlib import Path

import table


def row(seconds, products, mb, beyond):
    return {"seconds": seconds, "product_gflops": products, "mb": mb, "beyond_s": beyond,
            "difference": [1e-6, 3e-6]}  # fmt: skip


REPORT = {
    "machine": "a machine", "note": "A trial.", "command": "compare.py --work w",
    "versions": {"PyTorch": "2", "libaaclip": "0"},
    "settings": {"config": "nano", "image_size": 112, "device": "cpu", "threads": 2, "rounds": 1, "repeat": 3},
    "skipped": ["bf16: no"],
    "results": [
        {
            "job": "detect", "precision": "f32", "gflop": 50.0,
            "peers": {
                "aaclip": row([1.0, 2.0, 4.0], [100.0, 50.0, 25.0], [900.0], [0.5]),
                "torch": row([3.0, 4.0, 4.0], [100.0, 50.0, 25.0], [2000.0], [-0.1]),
            },
        },
        {"job": "train", "precision": "f32", "gflop": None,
         "peers": {"torch": row([7.0], [100.0], [800.0], [1.0])}},
    ],
}  # fmt: skip


class Table(unittest.TestCase):
    def write(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "performance.md"
            if text is not None:
                path.write_text(text)
            table.check_file(path)
            table.write(path, REPORT)
            table.write(path, REPORT)  # again, in its place
            return path.read_text()

    def test_figures(self):
        lines = self.write(None).splitlines()
        rows = [[c.strip() for c in x.strip("|").split("|")] for x in lines if x.startswith("| lib")]
        self.assertEqual(
            rows,
            [["libaaclip", "2.00 (1.00 to 4.00)", "1", "0.500 (0.500 to 0.500)", "0.500", "900",
              "3e-06"]],
        )  # fmt: skip
        torch = [x for x in lines if x.startswith("| PyTorch, eager")]
        self.assertIn("| 2.00 (1.00 to 3.00) |", torch[0])  # the median of 3, 2 and 1
        self.assertIn("| -0.100 |", torch[0])
        self.assertEqual(torch[1].count("|"), 7)  # without the share of the product
        self.assertIn("- Skipped: bf16: no", lines)
        self.assertIn("**A trial.**", lines)
        self.assertIn("- Machine: a machine", lines)
        self.assertIn("A turn needs 50.0 GFLOP.", lines)

    def test_text_around_stays(self):
        text = self.write(f"# Before\n\n{table.BEGIN}\nold\n{table.END}\n\nAfter\n")
        self.assertTrue(text.startswith(f"# Before\n\n{table.BEGIN}\n"))
        self.assertTrue(text.endswith(f"\n{table.END}\n\nAfter\n"))
        self.assertNotIn("old", text)
        self.assertEqual(text.count(table.BEGIN), 1)

    def test_a_file_without_marks_is_refused(self):
        for text in ("no marks\n", f"{table.BEGIN}\n"):
            with self.assertRaisesRegex(table.NoPlace, "performance.md: expected"):
                self.write(text)

    def test_the_committed_page_has_a_place(self):
        table.check_file(Path(__file__).resolve().parents[2] / "docs" / "performance.md")


if __name__ == "__main__":
    unittest.main()
