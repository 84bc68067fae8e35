"""examples/quickstart.sh: what it removes, and where it goes."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

EXAMPLES = Path(sys.argv[1])


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def call(self, *command, env=None):
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60, env=env
        )

    def clear(self, out):
        return self.call("sh", "-euc", '. "$1"; demo_clear "$2"', "sh", EXAMPLES / "demo.sh", out)

    def test_a_folder_of_others_is_kept(self):
        for out, name in ((".", "adapters/mine"), ("after", "after/mine")):
            mine = self.folder / name
            mine.parent.mkdir()
            mine.write_text("")
            run = self.call("sh", EXAMPLES / "quickstart.sh", "--out", out)
            self.assertEqual(run.returncode, 1)
            self.assertIn(f"{self.folder}/{out}: expected a new or empty folder", run.stderr)
            self.assertTrue(mine.exists())

    def test_an_earlier_run_is_replaced(self):
        for out in ("new", "empty"):
            old, kept = (self.folder / out / name for name in ("seen/old", "kept"))
            if out == "empty":
                (self.folder / out).mkdir()
            self.assertEqual(self.clear(out).returncode, 0)
            old.parent.mkdir()
            old.write_text("")
            kept.write_text("")
            self.assertEqual(self.clear(out).returncode, 0)
            self.assertEqual((old.exists(), kept.exists()), (False, True))

    def test_threads_sleep_unless_the_caller_says_otherwise(self):
        show = '. "$1"; sh -c \'echo "$OMP_WAIT_POLICY"\''
        for given, found in ((None, "passive"), ("active", "active")):
            environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
            if given:
                environment["OMP_WAIT_POLICY"] = given
            run = self.call("sh", "-euc", show, "sh", EXAMPLES / "demo.sh", env=environment)
            self.assertEqual(run.stdout, found + "\n")

    def test_an_empty_name(self):
        for arguments in (["--out", ""], ["--out"], ["--where", "x"]):
            run = self.call("sh", EXAMPLES / "quickstart.sh", *arguments)
            self.assertEqual(run.returncode, 2)
            self.assertIn("usage: quickstart.sh", run.stderr)
        self.assertNotEqual(self.clear("").returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
