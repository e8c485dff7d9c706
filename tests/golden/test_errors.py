"""Every error that a person can meet is of one tree and says what to do."""

import ast
from collections import Counter

import pytest

from runtime.contract.errors import ConfigError, LedgerError, SyncError
from tests.golden import errors

# Between two parts of one machine, never to a person: told within another error.
INNER = {
    "S3Error": "what emulated S3 answers to the stand-in for aws_s3",
    "Refused": "what the stand-in for aws_s3 answers to PostgreSQL",
}
# They carry the words of others.
CARRIERS = {
    "ConfigErrors": "its problems are told one by one",
    "RefusedError": "told by the deployed function with a code of its own",
    "Refusal": "Vault's protocol and words, played for clients of Vault",
}
RAISED_BESIDE_THE_TREE = {
    "LookupError": "a name that the loader has checked before",
    "typer.Exit": "a command that has told its result",
    "ValueError": "a stack.json that is no object, told at once as damaged",
    "pulumi.RunError": "Pulumi's way to end without a stack trace",
    "ProgrammingError": "what Snowflake's own connector raises, played for it",
    "NotImplementedError": "a TO_VARCHAR of the local Snowflake, told by it as refused",
    "duckdb.TransactionException": "as DuckDB raises it, to be repeated like its own",
}
# Whoever wrote the statement or the file reads these: it is the subject, and what is
# allowed the remedy.
PLAYED = "infra/local/snowflake/"
# Told as notes under the table they are about.
NOTES = {"runtime/ops/suggest.py", "runtime/ops/moving.py"}
PROPER = {"Aurora", "AWS", "DynamoDB", "S3", "Snowflake", "Vault"}


@pytest.fixture(scope="module")
def source() -> errors.Source:
    return errors.modules()


def test_every_exception_is_of_the_tree(source):
    named = {node.name for _, node in errors.classes(source)}
    assert named - set(errors.kinds(source)) - {"SyncError"} == set(INNER)


def test_nothing_is_raised_beside_the_tree(source):
    made = {
        ast.unparse(node.exc.func)
        for tree in source.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    classes = {name for name in made if name.rpartition(".")[2][0].isupper()}
    known = {*errors.kinds(source), *INNER}
    assert classes - known == set(RAISED_BESIDE_THE_TREE)


def test_codes_are_unique(source):
    codes = Counter(
        kind.code for name, kind in errors.kinds(source).items() if name not in CARRIERS
    )
    assert [code for code, times in codes.items() if times > 1] == []
    assert "" not in codes


def faults(source: errors.Source) -> list[str]:
    """Return what is wrong with any message."""
    found = []
    for kind, place, parts in errors.messages(source):
        fact, first = parts["fact"], parts["fact"].split()[0]
        wanted = [] if place.startswith(PLAYED) else ["subject", "remedy"]
        wanted = wanted[1:] if place in NOTES else wanted
        wrong = [name for name in wanted if name not in parts]
        if not (first[0] in "{'" or first in PROPER or first == first.upper()):
            wrong += [] if first[0].islower() else ["begins with a capital letter"]
        wrong += [name for name, text in parts.items() if text.endswith(".")]
        found += [f"{place}: {kind.__name__} {fact!r}: {each}" for each in wrong]
    return found


def test_every_message_says_what_it_is_about_and_what_to_do(source):
    assert faults(source) == []
    assert len(errors.messages(source)) > 150


def test_a_message_is_followed_to_its_words_and_its_faults_are_told():
    text = """
def check(name, problem="is odd"):
    fact = f"column {name!r} {problem}"
    raise ConfigError(fact, subject=name, remedy="mend " + ("it" if name else "all."))
check("a")
check(given, "Is even")
raise LedgerError("Bad", remedy="none", subject="it")
"""
    read = {"runtime/x.py": ast.parse(text)} | {
        name: tree
        for name, tree in errors.modules().items()
        if name == "runtime/contract/errors.py"
    }
    found = [(kind, parts["fact"]) for kind, _, parts in errors.messages(read)]
    assert found == [
        (ConfigError, "column 'a' is odd"),
        (ConfigError, "column 'a' is odd"),
        (ConfigError, "column {given} Is even"),
        (ConfigError, "column {given} Is even"),
        (LedgerError, "Bad"),
    ]
    assert [each.rpartition(": ")[2] for each in faults(read)] == [
        "remedy",
        "remedy",
        "begins with a capital letter",
    ]


def test_the_page_tells_every_message(source):
    page = errors.page(source)
    for kind, place, parts in errors.messages(source):
        assert f"| {parts['fact'].replace('<', '&lt;')} |" in page
        assert place in page
    assert f"## {SyncError.__name__}\n" in page
