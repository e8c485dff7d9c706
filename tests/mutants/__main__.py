"""Break each rule of the protocol and demand that its tests notice: `make mutants`.

    python -m tests.mutants [--only PATTERN] [--jobs N] [--page FILE]

The tree is copied, so that the checkout stays as it is. First all tests that are named
must pass; then each mutant is applied alone to a copy, and one of its tests must fail:
an error while tests are collected or set up is no answer. The product that is tested,
the deployed function's included, is the copy's.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.catalogue import ROOT, Mutant, mutants

BASELINE_SECONDS = 1800
MUTANT_SECONDS = 400
_FAILED = "FAILED "


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one mutant.

    Attributes:
        mutant: The mutant.
        killer: Test that noticed; empty when none did.
        problem: Why there is no answer: survived, does not apply, tests broken.
        seconds: How long its tests took.
    """

    mutant: Mutant
    killer: str = ""
    problem: str = ""
    seconds: float = 0.0


def copy_tree(to: Path) -> Path:
    """Copy what git knows or would add, and check that Python imports the copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    # Tests ask git for the files, too.
    subprocess.run(["git", "init", "-q"], cwd=to, check=True, timeout=60)
    subprocess.run(["git", "add", "-A"], cwd=to, check=True, timeout=60)
    where = "import infra, runtime; print(infra.__file__, runtime.__file__)"
    process = _python(to, ["-c", where], 60)
    assert process.stdout.split() == [
        str(to / package / "__init__.py") for package in ("infra", "runtime")
    ], process
    return to


def _python(
    tree: Path, words: Sequence[str], seconds: float
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def run_tests(
    tree: Path, tests: Sequence[str], seconds: float, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy; failures and errors are listed at the end of the output."""
    plain = ["-q", "--tb=short", "-rfE", "-p", "no:cacheprovider"]
    named = [f"tests/{test}" for test in tests]
    return _python(tree, ["-m", "pytest", *plain, *options, *named], seconds)


def judge(tree: Path, mutant: Mutant) -> Verdict:
    """Apply a mutant to a copy, run its tests, and take it back."""
    path = tree / mutant.file
    source, started = path.read_text(), time.monotonic()
    if problem := mutant.fault(source):
        return Verdict(mutant=mutant, problem=problem)
    path.write_text(source.replace(mutant.old, mutant.new))
    killer = problem = ""
    try:
        process = run_tests(tree, mutant.tests, MUTANT_SECONDS, "-x")
        killers = [
            line.removeprefix(_FAILED).split(" - ")[0]
            for line in process.stdout.splitlines()
            if line.startswith(_FAILED)
        ]
        if killers:
            killer = killers[0]
        else:
            problem = "survived" if process.returncode == 0 else process.stdout[-2000:]
    except subprocess.TimeoutExpired:
        problem = f"no answer within {MUTANT_SECONDS} s"
    finally:
        path.write_text(source)
    seconds = time.monotonic() - started
    return Verdict(mutant=mutant, killer=killer, problem=problem, seconds=seconds)


def hunt(chosen: Sequence[Mutant], folder: Path, jobs: int) -> list[Verdict]:
    """Judge mutants, several at a time, each in a copy of its own."""
    trees: SimpleQueue[Path] = SimpleQueue()
    for number in range(jobs):
        trees.put(copy_tree(folder / f"tree{number}"))

    def one(mutant: Mutant) -> Verdict:
        tree = trees.get()
        try:
            verdict = judge(tree, mutant)
        finally:
            trees.put(tree)
        told = verdict.problem.splitlines()[-1:] or [f"killed by {verdict.killer}"]
        head = f"{mutant.rule:4} {verdict.seconds:5.1f} s"
        print(f"{head}  {mutant.breaks}: {told[0]}", file=sys.stderr, flush=True)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, chosen))


def page(verdicts: Sequence[Verdict], seconds: float) -> str:
    """Return the result as a page."""
    killed = sum(1 for verdict in verdicts if verdict.killer)
    lines = [
        "# Mutants",
        "",
        "What `make mutants` found: each rule of [PROTOCOL.md](PROTOCOL.md) broken in"
        " one place, and the test that noticed.",
        f"{datetime.now(UTC):%Y-%m-%d}: {killed} of {len(verdicts)} killed in "
        f"{seconds:.0f} s.",
        "",
        "| Rule | Broken | Noticed by | Seconds |",
        "| --- | --- | --- | --- |",
    ]
    for verdict in verdicts:
        name = verdict.killer.rpartition("::")[2].partition("[")[0]
        by = f"`{name}`" if name else "nobody"
        mutant = verdict.mutant
        lines.append(
            f"| {mutant.rule} | {mutant.breaks} | {by} | {verdict.seconds:.0f} |"
        )
    return "\n".join([*lines, ""])


def main() -> int:
    """Run the list; 0 when every mutant was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", default="", help="pattern of rule and what breaks")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--page", type=Path, help="write the result as this page")
    parser.add_argument("--no-baseline", action="store_true", help="trust the tests")
    asked = parser.parse_args()
    chosen = [
        mutant
        for mutant in mutants()
        if re.search(asked.only, f"{mutant.rule} {mutant.breaks}")
    ]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        if not asked.no_baseline:
            named = sorted({test for mutant in chosen for test in mutant.tests})
            spread = ("--numprocesses", str(asked.jobs), "--dist", "loadfile")
            tree = copy_tree(folder / "baseline")
            process = run_tests(tree, named, BASELINE_SECONDS, *spread)
            print(process.stdout.splitlines()[-1], file=sys.stderr, flush=True)
            if process.returncode:
                print(process.stdout + process.stderr, file=sys.stderr)
                return 1
        verdicts = hunt(chosen, folder, asked.jobs)
    text = page(verdicts, time.monotonic() - started)
    whole = asked.page and len(chosen) == len(mutants())
    (asked.page.write_text if whole else print)(text)
    left = [verdict for verdict in verdicts if not verdict.killer]
    for verdict in left:
        print(f"{verdict.mutant.rule} {verdict.mutant.breaks}: {verdict.problem}")
    return 1 if left or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
