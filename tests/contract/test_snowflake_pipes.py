"""Pipes are told apart by what they load, and take no file that they do not know."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract.names import LakeKeys
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_pipes import (
    copy_statement,
    is_version,
    manifests_pipe_name,
    names_up_to,
    pipe_name,
    versions_of,
)
from tests.factories import make_table

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="W", stack="dev")
NARROW = make_table((("id", "integer"), ("at", "timestamp with time zone")))
WIDE = make_table((*NARROW.contract.columns, ("note", "text")))
KEYS = LakeKeys(stack="dev", table=NARROW.spec.source)
# PostgreSQL has at most 1600 columns, but a dropped one keeps its place in files.
MOST = 9999


def file(width: int, chunk: str = "c000000", run: str = "01JD-a_7_b") -> str:
    """Return an export file's key as a pipe's pattern sees it."""
    stamp = "000001-00000000000000000777-1000000000"
    return KEYS.export_key(run, stamp, width, chunk).removeprefix(KEYS.exports)


def takes(width: int, name: str) -> bool:
    return re.fullmatch(names_up_to(width), name) is not None


@given(st.integers(1, MOST), st.integers(1, MOST))
def test_a_pipe_takes_files_of_its_width_and_narrower_ones(known, width):
    assert takes(known, file(width)) == (width <= known)


@pytest.mark.parametrize("known", [1, 9, 10, 13, 20, 99, 100, 101, 190, 1000, 1234])
def test_it_does_so_around_every_number_of_columns(known):
    widths = [width for width in range(1, 1700) if takes(known, file(width))]
    assert widths == list(range(1, known + 1))


@pytest.mark.parametrize("chunk", ["c000000", "k000000", "s000000", "c000000_3_x"])
def test_keys_seals_and_further_parts_of_a_file_are_taken_as_rows_are(chunk):
    assert takes(13, file(13, chunk)) and not takes(13, file(14, chunk))
    assert takes(13, file(13, chunk) + "_part2")
    assert not takes(13, file(14, chunk) + "_part2")


@pytest.mark.parametrize("width", [0, -1, 7])
def test_a_number_elsewhere_in_the_key_is_none_of_columns(width):
    name = file(14).replace("_14_", f"_{width}x_")
    assert not takes(13, name)


def test_another_contract_is_another_pipe_and_the_same_is_not():
    assert pipe_name(OBJECTS, NARROW) == pipe_name(
        OBJECTS, make_table(NARROW.contract.columns)
    )
    assert pipe_name(OBJECTS, NARROW) != pipe_name(OBJECTS, WIDE)
    assert names_up_to(2) in copy_statement(OBJECTS, NARROW)


def test_what_does_not_change_the_statement_does_not_change_the_pipe():
    other = make_table(NARROW.contract.columns, schedule="daily", lookback="PT1H")
    assert pipe_name(OBJECTS, NARROW) == pipe_name(OBJECTS, other)


def test_versions_of_a_pipe_are_known_by_their_names():
    for name in (pipe_name(OBJECTS, NARROW), pipe_name(OBJECTS, WIDE)):
        assert versions_of(name) == OBJECTS.pipes(NARROW)
        assert is_version(name, OBJECTS.pipes(NARROW))
    assert is_version(manifests_pipe_name(OBJECTS), OBJECTS.manifests_pipes)


@pytest.mark.parametrize(
    "name",
    ["PUBLIC__ORDERS_PIPE_ARCHIVE", "PUBLIC__ORDERS_PIPE_0A1B2C3D_PIPE_0A1B2C3D"],
)
def test_pipes_of_tables_with_longer_names_are_no_versions(name):
    assert not is_version(name, OBJECTS.pipes(NARROW))
