"""The rules over today's code and over seeded violations, and their document."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.standards import checks
from tests.standards.checks import Finding

ROOT = Path(__file__).resolve().parents[2]
STANDARDS = ROOT / ".github" / "CODING_STANDARDS.md"
CONFIG = ROOT / "config" / "sync_config.json"


def configured_tables() -> frozenset[str]:
    entries = json.loads(CONFIG.read_text())["tables"]
    return frozenset(entry["table_name"] for entry in entries)


class Rule(NamedTuple):
    """A check, and where it holds.

    Attributes:
        check: Finds violations in a syntax tree.
        folders: Whose files it reads.
        but: Folders below that it leaves out, with the reason in the standards.
    """

    check: Callable[[ast.AST], Iterator[Finding]]
    folders: tuple[str, ...] = ("infra", "runtime")
    but: tuple[str, ...] = ()


LOCAL = ("infra/local",)
RULES = {
    "select_star": Rule(checks.select_star, but=LOCAL),
    "swallowed_exceptions": Rule(checks.swallowed_exceptions),
    "calls_without_timeout": Rule(checks.calls_without_timeout),
    "hard_coded_places": Rule(checks.hard_coded_places, but=LOCAL),
    "table_names": Rule(
        partial(checks.table_names, tables=configured_tables()),
        but=(*LOCAL, "infra/cli/demo"),
    ),
    "default_vpcs": Rule(checks.default_vpcs),
    "prints": Rule(checks.prints, folders=("runtime",)),
    "asserts": Rule(checks.asserts),
    "machine_paths": Rule(checks.machine_paths),
    "mutable_defaults": Rule(checks.mutable_defaults, ("infra", "runtime", "tests")),
    "values_between_quotes": Rule(checks.values_between_quotes),
}
# What a rule finds and is right all the same: file, part of the finding, reason.
ACCEPTED = {
    (
        "runtime/exporter/credentials.py",
        "'us-east-1'",
    ): "STS's global host signs for it",
    ("infra/preflight.py", "'af-south-1'"): "AWS has another quota there",
    ("infra/preflight.py", "'eu-south-1'"): "AWS has another quota there",
    (
        "runtime/contract/names.py",
        "for example public.orders",
    ): "an example in a remedy",
}
# One violation each, in the forms that people write; and what is none.
SEEDED = {
    "select_star": [
        'cursor.execute("SELECT * FROM t")',
        'q = f"SELECT {flag} FROM a; select distinct t.* FROM {name} t"',
        'q = "SELECT a.id, " "b.* FROM a JOIN b"',
    ],
    "swallowed_exceptions": [
        "try:\n    f()\nexcept:\n    raise",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept (ValueError, BaseException) as error:\n    return None",
        "with contextlib.suppress(Exception):\n    f()",
    ],
    "calls_without_timeout": [
        'subprocess.run(["ls"], check=True)',
        'requests.get("x")',
        "urllib.request.urlopen(url)",
        "hvac.Client(url=address)",
        "psycopg2.connect(dsn, application_name='x')",
        "psycopg2.connect(**parts)",
        "snowflake.connector.connect(user=u, login_timeout=5)",
        'boto3.client("s3")',
        'boto3.Session().resource("dynamodb")',
        'session = boto3.Session()\nsession.client("s3")',
        'make: Any = boto3.Session(region_name=r).client\nmake("s3")',
        "Config(read_timeout=5)",
    ],
    "hard_coded_places": [
        'ACCOUNT = "111122223333"',
        'arn = f"arn:aws:s3:eu-west-1:1111{x}"',
        'region = "eu-west-1"',
        'vpc = "vpc-0a1b2c3d4e5f60718"',
        'vault = "https://vault.example.com:8200"',
        'bucket = "s3://lake/exports"',
        'host = "shop.cluster-x.eu-west-1.rds.amazonaws.com"',
        'account = "example.snowflakecomputing.com"',
        'host = "10.0.0.7:5432"',
    ],
    "table_names": ['q = f"SELECT id FROM public.orders WHERE {x}"'],
    "default_vpcs": [
        'aws.ec2.DefaultVpc("x")',
        "from pulumi_aws.ec2 import DefaultSubnet\nDefaultSubnet('x')",
        "aws.ec2.get_vpc_output(default=True)",
        "aws.ec2.get_subnet(default_for_az=True)",
    ],
    "prints": ["print(rows)"],
    "asserts": ["assert found is not None"],
    "machine_paths": [
        'path = "/home/me/project"',
        'path = f"/tmp/{name}"',
        'path = "C:\\\\Users"',
    ],
    "mutable_defaults": [
        "def f(a=[]):\n    pass",
        "def f(*, a={}):\n    pass",
        "f = lambda a=set(): a",
        "async def f(a=list()):\n    pass",
    ],
    "values_between_quotes": [
        "q = f\"SELECT id FROM t WHERE name = '{name}'\"",
        "q = f'DELETE FROM \"{table}\"'",
    ],
}
FINE = {
    "select_star": [
        'q = "SELECT COUNT(*) FROM t"',
        'q = "SELECT a * b FROM t"',
        'def f():\n    """Never SELECT * FROM t."""',
    ],
    "swallowed_exceptions": [
        "try:\n    f()\nexcept ValueError:\n    pass",
        "try:\n    f()\nexcept Exception as error:\n    tell(error)",
        "try:\n    f()\nexcept BaseException:\n    undo()\n    raise",
    ],
    "calls_without_timeout": [
        "subprocess.run(c, timeout=5)",
        'psycopg2.connect(**{"connect_timeout": 5, **parts})',
        'session = boto3.Session()\nsession.client("s3", config=config)',
        'target.client("s3")',
        "Config(connect_timeout=1, read_timeout=2)",
    ],
    "hard_coded_places": [
        'm = Meta(description="such as eu-west-1, https://host:port")',
        'principal = "rds.amazonaws.com"',
        'arn = f"arn:aws:s3:::{bucket}"',
        "limit = 111122223333",
    ],
    "table_names": ['t = "orders of events"'],
    "default_vpcs": ['aws.ec2.DefaultSecurityGroup("closed", vpc_id=own)'],
    "prints": ["console.print(rows)"],
    "asserts": ["if found is None:\n    raise LookupError(name)"],
    "machine_paths": ['url = "https://x/home/y"', 'path = "~/.pgpass"'],
    "mutable_defaults": ["def f(a=(), b=frozenset()):\n    pass"],
    "values_between_quotes": [
        'q = f"SELECT {quote_postgres(column)} FROM {name}"',
        "text = f\"table '{name}' is missing\"",
    ],
}


def files(rule: Rule) -> list[Path]:
    found = (path for folder in rule.folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(
        path
        for path in found
        if not any(path.is_relative_to(ROOT / each) for each in rule.but)
    )


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.AST]:
    """The syntax trees of all files that a rule reads."""
    paths = {path for rule in RULES.values() for path in files(rule)}
    return {path: ast.parse(path.read_bytes()) for path in paths}


def found_in(trees: dict[Path, ast.AST], rule: Rule) -> list[tuple[str, Finding]]:
    paths = files(rule)
    assert len(paths) > 20
    return [
        (path.relative_to(ROOT).as_posix(), finding)
        for path in paths
        for finding in rule.check(trees[path])
    ]


@pytest.mark.parametrize("name", RULES)
def test_production_code_keeps_the_rule(trees, name):
    wrong = [
        f"{path}:{finding.line}: {finding.what}"
        for path, finding in found_in(trees, RULES[name])
        if not any(path == file and part in finding.what for file, part in ACCEPTED)
    ]
    assert wrong == []


def test_what_is_accepted_is_still_there(trees):
    met = set()
    for rule in RULES.values():
        for path, finding in found_in(trees, rule):
            met |= {
                (file, part)
                for file, part in ACCEPTED
                if file == path and part in finding.what
            }
    assert met == set(ACCEPTED)


def test_every_rule_has_seeds():
    assert set(SEEDED) == set(FINE) == set(RULES)
    functions = {
        name
        for name, each in vars(checks).items()
        if callable(each)
        and not name.startswith("_")
        and each.__module__ == checks.__name__
    }
    assert functions - {"Finding"} == set(RULES)


@pytest.mark.parametrize(
    ("name", "code"), [(name, code) for name in SEEDED for code in SEEDED[name]]
)
def test_a_seeded_violation_is_found(name, code):
    assert list(RULES[name].check(ast.parse(code)))


@pytest.mark.parametrize(
    ("name", "code"), [(name, code) for name in FINE for code in FINE[name]]
)
def test_what_only_looks_alike_is_not(name, code):
    assert list(RULES[name].check(ast.parse(code))) == []


def test_the_sql_that_is_sent_names_its_columns():
    """Of generated text the golden files show what no syntax tree does."""
    paths = [path for path in (ROOT / "tests" / "golden").rglob("*.sql")]
    paths += [*(ROOT / "runtime").rglob("*.sql"), *(ROOT / "infra").rglob("*.sql")]
    assert len(paths) > 10
    for path in paths:
        tree = ast.parse(repr(path.read_text()), mode="eval")
        assert list(checks.select_star(tree)) == [], path


def rows() -> list[tuple[str, list[str]]]:
    """The rules of the document: their words, and what holds each."""
    found = []
    for line in STANDARDS.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| Rule", "| ---")):
            rule, held = (cell.strip() for cell in line.strip("| ").split(" | "))
            found.append((rule, re.findall(r"`([^`]+)`", held)))
    return found


def test_each_rule_of_the_standards_names_the_check_that_holds_it():
    named = {name for _, held in rows() for name in held}
    assert len(rows()) > 25
    assert [rule for rule, held in rows() if not held] == []
    assert set(RULES) <= named
    unknown = {name for name in named - set(RULES) if not _exists(name)}
    assert unknown == set()


def _exists(name: str) -> bool:
    """A test of this checkout, or a command of `make check`."""
    if "::" in name:
        path, _, test = name.partition("::")
        return f"def {test}(" in (ROOT / path).read_text()
    if name.endswith(".py"):
        return "def test_" in (ROOT / name).read_text()
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\ncheck:")[2].partition("\n\n")[0]
    return re.search(rf"\$\(BIN\)/(python -m )?{re.escape(name)}\b", recipe) is not None
