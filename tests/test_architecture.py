"""Rules of the repository as a whole that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

import infra
import runtime
from infra.stack import PROJECT

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 300
PACKAGES = ("infra", "runtime")
OURS = (*PACKAGES, "tests")
OWNERS = packages_distributions()
# Types only: never imported when the program runs.
STUBS = re.compile(r"mypy_boto3_\w+|types_\w+|_typeshed")
HANDLERS = ("runtime.exporter.handler", "runtime.checker.handler")
# What the bundle holds.
LEAN = ("runtime/contract/", "runtime/checker/", "runtime/exporter/")
# Too heavy for a cold start, or not in the Lambda's bundle at all.
NOT_IN_LAMBDA = frozenset(
    "duckdb fakesnow infra ministack numpy pandas psutil pulumi pyarrow rich snowflake "
    "sqlglot typer".split()
)


def python_files(*folders: str) -> list[Path]:
    return sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))


def relative(paths: Iterator[Path] | list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("package", [infra, runtime])
def test_packages_are_imported_from_this_checkout(package):
    """A test folder named like a package, or another checkout, must not win."""
    assert Path(package.__file__) == ROOT / package.__name__ / "__init__.py"


def test_no_module_in_infra_shadows_another_package():
    """Pulumi runs the program with infra/ first on sys.path: its modules win there."""
    taken = {*OWNERS, *sys.stdlib_module_names}
    taken |= {"config", "docs", "tests", *PACKAGES}
    modules = {path.stem for path in (ROOT / "infra").iterdir()}
    assert (modules - {"__init__", "__main__", "__pycache__"}) & taken == set()


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_loads_nothing_of_the_deployer(handler):
    """Asked in a fresh process: in this one other tests have loaded everything."""
    code = (
        f"import sys, {handler}; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    loaded = set(process.stdout.split())
    assert handler.partition(".")[0] in loaded
    assert loaded & NOT_IN_LAMBDA == set()


def test_the_checker_loads_neither_database_nor_vault():
    """It goes on when they do not, and starts in half the time."""
    code = (
        "import sys, runtime.checker.handler; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    assert {"psycopg2", "hvac"} & set(loaded) == set()


def test_pulumi_finds_the_program_and_the_settings_of_the_project():
    """Pulumi puts the project's name before each key, where the program looks."""
    lines = (ROOT / "Pulumi.yaml").read_text().splitlines()
    assert f"name: {PROJECT}" in lines
    assert f"main: {infra.__name__}/" in lines
    assert "    virtualenv: .venv" in lines


def test_every_folder_of_tests_is_a_package():
    """Without the full chain pytest imports tests/infra as `infra`."""
    folders = {path.parent for path in python_files("tests")}
    bare = sorted(folder for folder in folders if not (folder / "__init__.py").exists())
    assert relative(bare) == []


def test_every_test_is_collected():
    """pytest reads test_*.py under tests/ only; a test elsewhere would never run."""
    stray = [
        path
        for path in python_files("tests", *PACKAGES)
        if not (path.is_relative_to(ROOT / "tests") and path.match("test_*.py"))
        and _has_tests(path)
    ]
    assert relative(stray) == []


def _has_tests(path: Path) -> bool:
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_bytes()))
    )


def test_no_source_file_is_longer_than_a_reader_can_hold():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files(*PACKAGES)
        if (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert long == {}


def test_every_import_is_declared_in_the_extra_that_ships_it():
    """What happens to be installed here may be missing where the extra is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lean = _names(project["dependencies"] + extras["runtime"])
    deployer = lean | _names(extras["infra"])
    everything = deployer | _names(extras["local"] + extras["dev"])
    undeclared = []
    for path in python_files(*PACKAGES, "tests"):
        name = str(path.relative_to(ROOT))
        if name.startswith(LEAN):
            allowed = lean
        elif name.startswith("infra/local/"):
            allowed = deployer | _names(extras["local"])
        elif name.startswith("tests/"):
            allowed = everything
        else:
            allowed = deployer
        undeclared += [f"{name}: {each}" for each in _third_party(path) - allowed]
    assert sorted(undeclared) == []


def _names(requirements: list[str]) -> set[str]:
    """Return the distributions' names in the one spelling used for comparing.

    What an extra brings along, as in `sqlglot[c]`, is declared with it.
    """
    found = set()
    for each in requirements:
        [(name, extra)] = re.findall(r"^([\w.-]+)(?:\[(\w+)\])?", each)
        brought = requires(name) or () if extra else ()
        found |= {
            _normal(re.split(r"[\[<>=!~; ]", one)[0])
            for one in (name, *(it for it in brought if f'extra == "{extra}"' in it))
        }
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _third_party(path: Path) -> set[str]:
    """Return the distributions that a file's imports come from."""
    found = set()
    for module in _imported(ast.parse(path.read_bytes())):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in OURS or STUBS.match(top):
            continue
        found |= {_normal(owner) for owner in OWNERS.get(top, [top])}
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_lambda_runs_the_releases_that_the_tests_run():
    """Two lock files, one truth: the tests vouch for what is deployed."""
    tested = _pins("all.txt")
    deployed = _pins("lambda.txt")
    assert deployed
    assert {name: tested.get(name) for name in deployed} == deployed


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def _prose() -> list[Path]:
    names = ("*.md", "*.toml", "*.yaml", "*.cfg", "Makefile", ".flake8")
    found = [path for name in names for path in ROOT.glob(name)]
    for folder in ("docs", "config", "requirements", ".ci", ".github"):
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(found)


def test_documents_name_no_path_of_a_machine():
    machine = [str(ROOT), str(Path.home())]
    pattern = "|".join(re.escape(path) for path in machine if path.count("/") > 1)
    pattern += r"|(?<![\w.~$}-])/(?:home|Users|root)/\w|file://"
    texts = {path: path.read_text() for path in _prose()}
    assert texts
    assert relative([p for p, text in texts.items() if re.search(pattern, text)]) == []


def test_lock_files_carry_no_address_of_a_registry():
    for path in (ROOT / "requirements").glob("*.txt"):
        assert not re.search(
            r"https?:|--(extra-)?index-url|--find-links|@ ", path.read_text()
        )
