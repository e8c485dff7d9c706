"""The list of mutants: one rule of the protocol broken by one change of text."""

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One rule, broken.

    Attributes:
        rule: Its id in docs/PROTOCOL.md.
        breaks: What is wrong now, as a clause.
        file: The file that is changed.
        old: Text that stands in it exactly once.
        new: What stands there instead.
        tests: Tests that must notice, below `tests/`; the first that fails is enough.
    """

    rule: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def fault(self, source: str) -> str:
        """Say why the mutant does not apply to the file's text; empty when it does."""
        found = source.count(self.old)
        if found != 1:
            return f"no longer applies: its text stands {found} times in {self.file}"
        try:
            compile(source.replace(self.old, self.new), self.file, "exec")
        except SyntaxError as error:
            return f"is no Python: {error}"
        return ""


def mutants() -> tuple[Mutant, ...]:
    """Read the list."""
    raw = tomllib.loads(LIST.read_text())
    return tuple(
        Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in raw["mutant"]
    )


@cache
def tests_of(path: Path) -> frozenset[str]:
    """Return the tests of a file, those in classes as `Class::test`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + each.name
            for each in inner
            if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
        }
    return frozenset(found)


def is_test(node_id: str) -> bool:
    """Whether there is a test `file.py::test_name` below `tests/`."""
    name, _, test = node_id.partition("::")
    path = ROOT / "tests" / name
    return path.is_file() and test.partition("[")[0] in tests_of(path)
