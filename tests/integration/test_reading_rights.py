"""Without a right of Snowflake's role nothing arrives, and the reason is told."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

import pytest
from snowflake.connector.errors import Error as SnowflakeError

from infra.local import aws
from infra.local.snowflake.part import connect
from runtime.contract.snowflake_names import LANDING, MANIFESTS, SYNC, SnowflakeObjects
from runtime.contract.snowflake_pipes import copy_statement, manifest_copy_statement
from runtime.ops.warehouse import Warehouse
from tests.integration.conftest import Sandbox
from tests.integration.losing import changed_trust, without_action
from tests.integration.refusing import Scene, role_name, until
from tests.integration.shop import shop

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="SYNC_WH", stack="local")


@pytest.fixture(scope="module")
def scene(sandbox: Sandbox) -> Scene:
    return shop(sandbox).orders


@pytest.fixture(scope="module")
def warehouse(sandbox: Sandbox) -> Iterator[Warehouse]:
    with closing(connect(sandbox.local, "ANALYTICS")) as connection:
        yield Warehouse(connection, OBJECTS)


def file_name(key: str) -> str:
    return key.rpartition("/")[2]


def failed_loads(scene: Scene, table: str) -> str:
    """Return the names of the files that a landing table's pipe gave up."""
    rows = scene.sandbox.snowflake(
        "SELECT file_name FROM TABLE(ANALYTICS.INFORMATION_SCHEMA.COPY_HISTORY("
        f"TABLE_NAME => '{table}', START_TIME => DATEADD(HOUR, -1, "
        "CURRENT_TIMESTAMP()))) WHERE status = 'Load failed'"
    )
    return " ".join(name for (name,) in rows)


def load_by_name(scene: Scene, statement: str, prefix: str, key: str) -> None:
    """Load a file that its pipe gave up, as a repair does."""
    by_name = re.sub(r"PATTERN = '.*'\n", "", statement)
    [row] = scene.sandbox.snowflake(
        f"{by_name}\nFILES = ('{key.removeprefix(prefix)}')"
    )
    assert "LOADED" in row


def lost_reading(scene: Scene, folder: str) -> AbstractContextManager[None]:
    role = role_name(scene.roles["snowflake"])
    return without_action(scene.sandbox, role, "s3:GetObject", f"/{folder}/")


def lost_trust(scene: Scene, **fields: Any) -> AbstractContextManager[None]:
    return changed_trust(scene.sandbox, role_name(scene.roles["snowflake"]), **fields)


OTHER_ID = {"StringEquals": {"sts:ExternalId": "another"}}
OTHER_USER = {"AWS": aws.user_arn("vault")}


@pytest.mark.parametrize(
    ("lose", "files", "manifests"),
    [
        pytest.param(lambda s: lost_reading(s, "exports"), True, False, id="exports"),
        pytest.param(
            lambda s: lost_reading(s, "manifests"), False, True, id="manifests"
        ),
        pytest.param(
            lambda s: lost_trust(s, Condition=OTHER_ID), True, True, id="external id"
        ),
        pytest.param(
            lambda s: lost_trust(s, Principal=OTHER_USER), True, True, id="principal"
        ),
    ],
)
def test_without_one_right_of_snowflake_what_it_reads_does_not_arrive(
    scene: Scene,
    warehouse: Warehouse,
    lose: Callable[[Scene], AbstractContextManager[None]],
    files: bool,
    manifests: bool,
) -> None:
    landing = OBJECTS.qualified(LANDING, OBJECTS.landing(scene.table))
    manifest_table = OBJECTS.qualified(SYNC, MANIFESTS)
    # What earlier runs have left on its way would be given up too.
    scene.sandbox.merged(scene.table, scene.state.seq)
    with lose(scene):
        done = scene.recovers()
        [file], manifest = done["files"], scene.keys.manifest_key(done["seq"])
        places = [(landing, file_name(file["key"]))] * files
        places += [(manifest_table, file_name(manifest))] * manifests
        until(
            lambda: all(key in failed_loads(scene, place) for place, key in places),
            f"the pipes give up {places}",
        )
        trouble = until(lambda: warehouse.trouble(scene.table), "a reason is told")
        assert "AccessDenied" in trouble
        assert merged_seq(scene, warehouse) < done["seq"]
    if files:
        load_by_name(
            scene,
            copy_statement(OBJECTS, scene.table),
            scene.keys.exports,
            file["key"],
        )
    if manifests:
        load_by_name(
            scene, manifest_copy_statement(OBJECTS), "manifests/local/", manifest
        )
    scene.sandbox.merged(scene.table, done["seq"])
    scene.sandbox.sync(scene.table)
    assert warehouse.trouble(scene.table) is None


def merged_seq(scene: Scene, warehouse: Warehouse) -> int:
    name = scene.table.spec.table_name
    return warehouse.progress([name])[name].merged_seq


def test_without_listing_snowflake_finds_no_files_that_it_was_not_told_of(
    scene: Scene,
) -> None:
    refresh = f"ALTER PIPE {scene.sandbox.pipe(scene.table)} REFRESH"
    role = role_name(scene.roles["snowflake"])
    with without_action(scene.sandbox, role, "s3:ListBucket"):
        with pytest.raises(SnowflakeError, match="AccessDenied.*ListObjectsV2"):
            scene.sandbox.snowflake(refresh)
    scene.sandbox.snowflake(refresh)
