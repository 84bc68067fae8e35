"""Manual pages and completions, as the shells and groff see them, against each program's --help."""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE, BUILD = map(Path, sys.argv[1:3])
PROGRAMS = [f"aaclip-{name}" for name in ("bench", "convert", "detect", "evaluate", "generate", "train")]
SHELLS = {"PATH": f"{BUILD / 'examples'}:/usr/bin:/bin", "HOME": tempfile.gettempdir(), "TERM": "dumb"}


def program(name):
    return BUILD / "examples" / name


def options(name):
    """As a line of --help begins with one, or goes on with one after spaces."""
    text = subprocess.run([program(name), "--help"], check=True, capture_output=True, text=True).stdout
    lines = "\n".join(line for line in text.splitlines() if line.startswith("  --"))
    found = set(re.findall(r"(?:^|  |, )(--[a-z][a-z0-9-]*)", lines, re.M))
    assert len(found) > 5, text
    return found


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True, env=SHELLS, timeout=60)


def needs(tool):
    return unittest.skipUnless(shutil.which(tool), f"{tool} is not installed")


class Pages(unittest.TestCase):
    @needs("groff")
    def test_groff_has_nothing_to_say(self):
        for name in PROGRAMS:
            page = BUILD / "docs" / "man" / f"{name}.1"
            result = run("groff", "-man", "-Tascii", "-ww", "-P-cbou", str(page))
            self.assertEqual(result.stderr, "", name)
            for option in options(name):
                self.assertIn(option, result.stdout, name)

    def test_every_page_has_its_parts(self):
        version = run(str(program("aaclip-detect")), "--version").stdout.strip()
        for name in PROGRAMS:
            text = (BUILD / "docs" / "man" / f"{name}.1").read_text()
            for part in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"):
                self.assertIn(f".SH {part}", text)
            self.assertIn(version, text.splitlines()[0])


class Completions(unittest.TestCase):
    def test_bash(self):
        file = shlex.quote(str(SOURCE / "completions" / "aaclip.bash"))
        script = (
            f"source {file}; complete -p $1 >/dev/null || exit 1\n"
            "COMP_WORDS=($1 --); COMP_CWORD=1; _aaclip $1; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
            "COMP_WORDS=($1 --mod); _aaclip $1; printf '= %s\\n' \"${COMPREPLY[@]}\"\n"
        )
        for name in PROGRAMS:
            lines = run("bash", "-c", script, "bash", name).stdout.splitlines()
            offered = {line for line in lines if line.startswith("--")}
            self.assertEqual(offered, options(name), name)
            if "--model" in offered:
                self.assertEqual([line for line in lines if line[0] == "="], ["= --model"], name)

    @needs("fish")
    def test_fish(self):
        for name in PROGRAMS:
            file = shlex.quote(str(BUILD / "completions" / f"{name}.fish"))
            lines = run("fish", "-c", f"source {file}; complete -C '{name} --'").stdout.splitlines()
            offered = {line.split("\t")[0].rstrip("=") for line in lines}
            self.assertGreaterEqual(offered, options(name), name)

    @needs("zsh")
    def test_zsh(self):
        # A terminal of its own, as completion wants one: what Tab offers after "--".
        folder = shlex.quote(str(SOURCE / "completions"))
        setup = f"PS1=; fpath=({folder} $fpath); autoload -U compinit; compinit -u -D; print READY"
        script = (
            "zmodload zsh/zpty; zpty -b z zsh -f -i\n"
            f"zpty -w z {shlex.quote(setup)}\n"
            "zpty -r -m z line '*READY*READY*'\n"
            "zpty -n -w z 'PROGRAM --'$'\\t\\t'; sleep 2\n"
            "while zpty -r -t z line; do print -rn -- $line; done\n"
        )
        for name in ("aaclip-detect", "aaclip-train"):
            shown = run("zsh", "-f", "-c", script.replace("PROGRAM", name)).stdout
            for option in ("--model", "--vocab", "--threads", "--backend"):
                self.assertIn(option, shown, name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
