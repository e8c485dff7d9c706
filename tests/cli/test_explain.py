"""`explain` on a local stack: each thing that can have become of a row."""

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Local

WIDE = "public.wide"


@pytest.fixture(scope="module")
def wide(local: Local) -> Iterator[Local]:
    """Rows of a table with a key of two columns, merged; both sides equal after."""
    local.aurora(
        "INSERT INTO public.wide (a, b) VALUES ('p|q', 901), ('x', 902), ('y', 903)"
    )
    local.run("sync", WIDE, "--wait")
    yield local
    # Others of the stack's tests compare both sides: what was changed behind the
    # watermark is as it was again.
    local.aurora(
        "DELETE FROM public.wide WHERE b > 900",
        "UPDATE public.wide SET f8 = 2 / 7.0 WHERE b = 2",
    )
    local.run("sync", WIDE, "--wait", "--reconcile")


def explained(local: Local, *key: str, status: int = 0) -> dict:
    return local.data("explain", WIDE, *key, status=status)


def test_a_merged_row_has_run_file_line_and_stamp(wide):
    found = explained(wide, "p|q", "901")
    assert found["key"] == {"a": "p|q", "b": "901"}
    assert found["verdict"] == "equal on both sides"
    [version] = found["versions"]
    assert version["fate"] == "in the target"
    assert version["stamp"] in version["file"]
    assert version["run"] >= 1 and version["line"] >= 1
    assert version["committed_at"] and version["loaded_at"] and version["merged_at"]


def test_the_key_is_read_as_postgres_reads_it(wide):
    assert explained(wide, "p|q", " 0901 ")["key"]["b"] == "901"


def test_a_changed_row_goes_with_the_next_run_and_supersedes(wide):
    wide.aurora("UPDATE public.wide SET updated_at = NOW() WHERE b = 902")
    found = explained(wide, "x", "902")
    assert found["verdict"] == "the next run exports it"
    assert found["differs"] == ["updated_at"]
    wide.run("sync", WIDE, "--wait")
    found = explained(wide, "x", "902")
    assert [each["fate"] for each in found["versions"]][-2:] == [
        "superseded",
        "in the target",
    ]
    assert found["differs"] == []


def test_a_deleted_row_is_named_as_left_behind(wide):
    wide.aurora("DELETE FROM public.wide WHERE b = 903")
    found = explained(wide, "y", "903", status=1)
    assert not found["in_source"] and found["in_target"]
    assert found["verdict"] == "gone from Aurora; no reconcile has marked it yet"


def test_a_row_that_changed_behind_its_watermark_is_named(wide):
    wide.aurora(
        "INSERT INTO public.wide (a, b, updated_at) VALUES ('z', 904, '2001-01-01')"
    )
    found = explained(wide, "z", "904", status=1)
    assert found["verdict"] == "no file of the last 30 days held it"
    assert not found["in_target"]
    wide.aurora("UPDATE public.wide SET f8 = -1 WHERE b = 2")
    found = explained(wide, "k~|2", "2", status=1)
    assert found["verdict"] == "its watermark did not move when it changed"
    assert found["in_target"] and found["differs"] == ["f8"]


def test_a_row_of_neither_side_is_said_to_be_that(wide):
    assert explained(wide, "x", "4711")["verdict"] == "neither side has it"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (("1",), "a value for each of a, b"),
        (("x", "one"), "invalid input syntax"),
    ],
)
def test_a_wrong_key_is_told_in_a_line(wide, key, said):
    result = wide.run("explain", WIDE, *key, status=2)
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_people_read_the_hops_in_order(wide):
    lines = wide.run("explain", WIDE, "p|q", "901").stdout.splitlines()
    assert lines[0] == "public.wide a=p|q, b=901: equal on both sides"
    assert lines[1].startswith("  Aurora     has it, watermark ")
    assert lines[-1].endswith("PUBLIC.WIDE has it")
