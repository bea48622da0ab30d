#!/usr/bin/env python3
"""Plants the bugs of PLANTS.md one at a time, and says which of them a test catches.

    jepsen-style/plants.py            every bug, by the test that the table names
    jepsen-style/plants.py 7 12       these only
    jepsen-style/plants.py --search   every test, until one fails: for a bug whose test is not known yet

All bugs are built at once into a copy of this crate, each behind a switch, so there is one build and not one a bug. In the
table the text that stands there is compared without its white space, and must be there once; « and » mark the part that is
replaced where more is needed to name the place. Ends with 1 if a bug was not caught.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CRATE = Path(__file__).resolve().parent
ROOT = CRATE.parent
COPY = ROOT / "target/planted"
PACKAGE = "quorate-jepsen-style"
# A planted bug may loop for ever.
SECONDS = 120

SWITCH = """
extern crate self as quorate_jepsen_style;

/// Whether this bug is planted.
pub fn planted(number: u32) -> bool {
    static PLANTED: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var("PLANTED").ok().and_then(|number| number.parse().ok());
    *PLANTED.get_or_init(|| read().unwrap_or(0)) == number
}
"""


def rows():
    """Number, file, text, replacement and test of each bug."""
    for line in (CRATE / "PLANTS.md").read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 6 and cells[0].isdigit():
            number, _, file, text, instead, test = cells
            code = [cell.strip("`").replace("\\|", "|") for cell in (file, text, instead)]
            yield int(number), *code, test.replace("`", "").split()


def place(source, text, number):
    """Where in `source` the marked part of `text` stands."""
    places = [at for at, letter in enumerate(source) if not letter.isspace()]
    dense = "".join(source[at] for at in places)
    wanted = re.sub(r"\s", "", text)
    bare = wanted.replace("«", "").replace("»", "")
    if dense.count(bare) != 1:
        sys.exit(f"bug {number}: its place is there {dense.count(bare)} times")
    first = dense.index(bare) + max(wanted.find("«"), 0)
    marked = wanted[wanted.index("«") + 1 : wanted.index("»")] if "«" in wanted else wanted
    return places[first], places[first + len(marked) - 1] + 1


def plant(bugs):
    shutil.rmtree(COPY / "jepsen-style", ignore_errors=True)
    shutil.copytree(CRATE, COPY / "jepsen-style", ignore=shutil.ignore_patterns("target"))
    for name in ("Cargo.lock", "rust-toolchain.toml"):
        shutil.copy(ROOT / name, COPY)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest = re.sub(r"(?m)^members = .*$", 'members = ["jepsen-style"]', manifest)
    manifest = re.sub(r"(?ms)^\[patch.*?(?=^\[)", "", manifest)
    (COPY / "Cargo.toml").write_text(manifest)
    manifest = COPY / "jepsen-style/Cargo.toml"
    # Code with bugs in it is not pretty.
    manifest.write_text(manifest.read_text().replace("[lints]\nworkspace = true", ""))
    with (COPY / "jepsen-style/src/lib.rs").open("a") as library:
        library.write(SWITCH)
    by_file = {}
    for number, file, text, instead, _ in bugs:
        by_file.setdefault(file, []).append((number, text, instead))
    for file, changes in by_file.items():
        path = COPY / "jepsen-style" / file
        source = path.read_text()
        found = [(*place(source, text, number), number, instead) for number, text, instead in changes]
        for start, end, number, instead in sorted(found, reverse=True):
            switch = f"quorate_jepsen_style::planted({number})"
            inner = source[start:end]
            source = f"{source[:start]}(if {switch} {{ {instead} }} else {{ {inner} }}){source[end:]}"
        path.write_text(source)


def cargo_test(arguments, number=0):
    """Names of failed tests; one name at least if any failed or did not end."""
    command = ["cargo", "test", "--offline", "-p", PACKAGE, *arguments]
    environment = os.environ | {
        "PLANTED": str(number),
        # Not the usual one: what is built there must not be taken for what is built here.
        "CARGO_TARGET_DIR": str(COPY / "target"),
        # That it fails is enough; how it fails most shortly is not asked.
        "PROPTEST_MAX_SHRINK_ITERS": "0",
    }
    process = subprocess.Popen(
        command, cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=SECONDS if number else None)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        return ["(did not end)"]
    if process.returncode == 0:
        return []
    broken = ["(it broke off)"] if number else [output[-2000:]]
    return re.findall(r"(?m)^test (\S+) .*FAILED$", output) or broken


def main():
    wanted = {int(word) for word in sys.argv[1:] if word.isdigit()}
    search = "--search" in sys.argv
    bugs = list(rows())
    plant(bugs)
    if broken := cargo_test(["--no-run"]):
        sys.exit(f"the bugs do not build: {broken[0]}")
    targets = [["--lib"], ["--bins"], *(["--test", path.stem] for path in sorted((CRATE / "tests").glob("*.rs")))]
    uncaught = 0
    for number, file, _, _, test in bugs:
        if wanted and number not in wanted:
            continue
        target = ["--lib"] if test[:1] == ["lib"] else ["--test", *test[:1]]
        tries = targets if search else [[*target, *test[1:]]]
        failed = next(((tried, names) for tried in tries if (names := cargo_test(tried, number))), None)
        uncaught += failed is None
        said = f"caught by {' '.join(failed[0])}: {', '.join(failed[1][:3])}" if failed else "NOT CAUGHT"
        print(f"{number} {file}: {said}", flush=True)
    print(f"{uncaught} not caught")
    sys.exit(uncaught > 0)


main()
