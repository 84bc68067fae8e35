"""What is marked AACLIP_DEPRECATED_SINCE warns where it is used, and not where that is silenced."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

suffix, standard, *compiler = sys.argv[1:]

MARKED = """
#include <aaclip/export.h>
AACLIP_BEGIN_DECLS
AACLIP_DEPRECATED_SINCE("1.2", "use new_call")
AACLIP_API int old_call(void);
AACLIP_API int new_call(void);
enum kind { OLD_KIND AACLIP_DEPRECATED_SINCE("1.3", "use NEW_KIND") = 1, NEW_KIND = 2 };
struct options {
    int old_member AACLIP_DEPRECATED_SINCE("1.4", "use new_member");
    int new_member;
};
AACLIP_END_DECLS
int use(const struct options *options);
int use(const struct options *options)
{
    return %s;
}
"""
OLD = MARKED % "old_call() + (int)OLD_KIND + options->old_member"
NEW = MARKED % "new_call() + (int)NEW_KIND + options->new_member"
SILENT = "#define AACLIP_NO_DEPRECATION_WARNINGS\n"


def compile_text(text, *flags):
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "use" + suffix)
        source.write_text(text)
        command = [*compiler, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", *flags]
        done = subprocess.run(
            [*command, "-c", source, "-o", source.with_suffix(".o")],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    return done.returncode, done.stderr


def check(name, text, *flags, expected=()):
    status, output = compile_text(text, *flags)
    # g++ tells one use of a member several times
    found = set(re.findall(r"(old_\w+|OLD_\w+)\W.*is deprecated: (.*?) \[", output))
    if status or found != set(expected):
        sys.exit(f"{name}: expected {expected}, found {found}, status {status}\n{output}")


check(
    "used",
    OLD,
    expected=[
        ("OLD_KIND", "since 1.3: use NEW_KIND"),
        ("old_call", "since 1.2: use new_call"),
        ("old_member", "since 1.4: use new_member"),
    ],
)
check("not used", NEW, "-Werror")
check("used, silenced", SILENT + OLD, "-Werror")
check("used in the library", OLD, "-Werror", "-DAACLIP_BUILD")
