"""Whatever is lost between S3 and the target comes back by itself or by one command."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.snowflake.part import connect
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_pipes import copy_statement
from runtime.contract.specs import Table
from runtime.ops.sweep import sweep as sweep_now
from runtime.ops.warehouse import Warehouse
from tests.factories import make_column, make_table
from tests.integration.conftest import Sandbox
from tests.integration.refusing import until

COLUMNS = "id INT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
_SPARE = 8
_free: dict[Path, list[Table]] = {}


def _deployed(sandbox: Sandbox) -> list[Table]:
    """Make the tables of all tests at once: a deployment takes seconds."""
    made = []
    for name in (f"heal{n}" for n in range(_SPARE)):
        sandbox.aurora(f"CREATE TABLE public.{name} ({COLUMNS})")
        columns = (
            ("id", "integer"),
            make_column(2, "note", "text", nullable=True),
            ("at", "timestamp with time zone"),
        )
        keys: dict[str, Any] = {
            "primary_key": "id",
            "watermark_col": "at",
            "merge_interval": "PT10S",
        }
        made.append(make_table(columns, table_name=f"public.{name}", **keys))
    sandbox.write_config(*sandbox.tables, *made)
    sandbox.deploy()
    return made


def filled(sandbox: Sandbox, rows: int = 5) -> Table:
    """Return a table with some rows, merged; one that no other test uses."""
    if sandbox.folder not in _free:
        _free[sandbox.folder] = _deployed(sandbox)
    table = _free[sandbox.folder].pop()
    write(sandbox, table, 1, rows)
    sandbox.sync(table)
    return table


def write(sandbox: Sandbox, table: Table, first: int, last: int) -> None:
    sandbox.aurora(
        f"INSERT INTO {table.spec.source.sql} (id, note)"
        f" SELECT g, 'n' || g FROM generate_series({first}, {last}) AS g"
        " ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.note || '!', at = NOW()"
    )


def objects(table: Table) -> dict[str, str]:
    name = table.spec.source.name.upper()
    landing = f"ANALYTICS.LANDING.PUBLIC__{name}"
    return {
        "target": f"ANALYTICS.PUBLIC.{name}",
        "landing": landing,
        "pipe": Sandbox.pipe(table),
        "stream": f"{landing}_STREAM",
        "task": f"{landing}_MERGE",
    }


@contextmanager
def no_events(sandbox: Sandbox) -> Iterator[None]:
    """Let S3 tell nobody of new files, of any table."""
    s3, bucket = sandbox.aws("s3"), {"Bucket": sandbox.outputs["bucket"]}
    before = s3.get_bucket_notification_configuration(**bucket)
    before.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(**bucket, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(
            **bucket, NotificationConfiguration=before
        )


def late(sandbox: Sandbox, table: Table) -> None:
    """Let all that was committed have been committed an hour ago."""
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for file, body in sandbox.snowflake(
        "SELECT file_name, body::VARCHAR FROM ANALYTICS.SYNC.MANIFESTS "
        f"WHERE body:table::VARCHAR = '{table.spec.table_name}'"
    ):
        text = json.dumps(json.loads(body) | {"committed_at": hour_ago})
        sandbox.snowflake(
            f"UPDATE ANALYTICS.SYNC.MANIFESTS SET body = PARSE_JSON('{text}') "
            f"WHERE file_name = '{file}'"
        )


def sweep(sandbox: Sandbox) -> None:
    """Run the task, and wait for the end of its run."""
    runs = (
        "SELECT state, error_message FROM TABLE(ANALYTICS.INFORMATION_SCHEMA"
        ".TASK_HISTORY(TASK_NAME => 'SWEEP', RESULT_LIMIT => 1000))"
    )
    before = len(sandbox.snowflake(runs))
    sandbox.snowflake("EXECUTE TASK ANALYTICS.LANDING.SWEEP")
    until(lambda: len(sandbox.snowflake(runs)) > before, "the sweep has run")
    assert {tuple(run) for run in sandbox.snowflake(runs)} == {("SUCCEEDED", None)}


def overdue(sandbox: Sandbox, table: Table) -> list[Any]:
    return sandbox.snowflake(
        "SELECT seq, file_name, times, problem FROM ANALYTICS.SYNC.SYNC_OVERDUE "
        f"WHERE table_name = '{table.spec.table_name}' ORDER BY seq"
    )


def same(sandbox: Sandbox, table: Table) -> None:
    """Hold that the target's living rows are the source's."""
    ours = sandbox.snowflake(
        f"SELECT id, note FROM {objects(table)['target']} "
        "WHERE _deleted_at IS NULL ORDER BY id"
    )
    theirs = sandbox.aurora(f"SELECT id, note FROM {table.spec.source.sql} ORDER BY id")
    assert [(int(key), note) for key, note in ours] == theirs


def test_a_lost_event_of_a_manifest_and_of_its_file_is_made_up_for(sandbox):
    """The gap shows when the next manifest arrives; then its files are late."""
    table = filled(sandbox)
    write(sandbox, table, 4, 7)
    with no_events(sandbox):
        lost = sandbox.tick(table)["seq"]
    write(sandbox, table, 8, 8)
    sandbox.tick(table)
    until(lambda: lost in [row[0] for row in overdue(sandbox, table)], "the gap shows")
    late(sandbox, table)
    sweep(sandbox)
    late(sandbox, table)
    sweep(sandbox)
    sandbox.merged(table, lost + 1)
    same(sandbox, table)
    assert overdue(sandbox, table) == []


def test_what_is_on_its_way_is_not_loaded_twice(sandbox):
    """Within a quarter of an hour a file is not late."""
    table = filled(sandbox)
    sandbox.snowflake(f"ALTER TASK {objects(table)['task']} SUSPEND")
    write(sandbox, table, 1, 2)
    seq = sandbox.tick(table)["seq"]
    until(lambda: overdue(sandbox, table), "the manifest has come")
    sweep(sandbox)
    [(_, _, times, _)] = overdue(sandbox, table)
    assert times == 0
    sandbox.snowflake(f"ALTER TASK {objects(table)['task']} RESUME")
    sandbox.merged(table, seq)


def test_a_sweep_mends_stream_task_and_pipe_and_brings_what_they_lost(sandbox):
    """Rows that landed are gone with their stream; the files bring them again."""
    table = filled(sandbox)
    names = objects(table)
    sandbox.snowflake(f"ALTER TASK {names['task']} SUSPEND")
    write(sandbox, table, 3, 6)
    sandbox.tick(table)
    question = f"SELECT SYSTEM$STREAM_HAS_DATA('{names['stream']}')"
    until(lambda: sandbox.snowflake(question) == [(True,)], "the rows have landed")
    sandbox.snowflake(f"DROP STREAM {names['stream']}")
    sandbox.snowflake(f"ALTER PIPE {names['pipe']} SET PIPE_EXECUTION_PAUSED = TRUE")
    write(sandbox, table, 7, 8)
    seq = sandbox.tick(table)["seq"]
    until(lambda: len(overdue(sandbox, table)) == 2, "both manifests have come")
    told: list[str] = []
    place = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
    with closing(connect(sandbox.local, "ANALYTICS")) as connection:
        warehouse = Warehouse(connection, place)
        failed = sweep_now([table], warehouse, lambda _, text: told.append(text))
    assert failed == 0
    mended = [text.split(" was ")[1] for text in told if " was " in text]
    assert mended == ["missing: made anew", "suspended: resumed", "paused: resumed"]
    sandbox.merged(table, seq)
    same(sandbox, table)


def test_events_that_come_twice_change_nothing(sandbox):
    """A file that is written over itself is told again, with another time."""
    table = filled(sandbox)
    write(sandbox, table, 4, 7)
    seq = sandbox.tick(table)["seq"]
    sandbox.merged(table, seq)
    before = receipts(sandbox, table)
    for key in [file for file, *_ in before] + [manifest(sandbox, table, seq)]:
        place = {"Bucket": sandbox.outputs["bucket"], "Key": key}
        sandbox.aws("s3").copy_object(
            **place, CopySource=place, MetadataDirective="REPLACE", Metadata={"n": "2"}
        )
    write(sandbox, table, 8, 8)
    sandbox.merged(table, sandbox.tick(table)["seq"])
    sandbox.quiet(table)
    same(sandbox, table)
    assert receipts(sandbox, table)[: len(before)] == before
    assert overdue(sandbox, table) == []


def test_a_file_that_is_damaged_is_told_and_loaded_when_it_is_whole_again(sandbox):
    table = filled(sandbox)
    write(sandbox, table, 4, 7)
    with no_events(sandbox):
        answer = sandbox.tick(table)
    [file] = answer["files"]
    place = {"Bucket": sandbox.outputs["bucket"], "Key": file["key"]}
    damaged = sandbox.aws("s3").put_object(**place, Body=b'4,"n4\n\x00\xff')
    write(sandbox, table, 8, 8)
    last = sandbox.tick(table)["seq"]
    until(lambda: answer["seq"] in [row[0] for row in overdue(sandbox, table)], "a gap")
    for _ in "manifest", "file":
        late(sandbox, table)
        sweep(sandbox)
    until(lambda: [row[3] for row in overdue(sandbox, table)] != [None], "it failed")
    [(seq, name, times, problem)] = overdue(sandbox, table)
    assert (seq, name) == (answer["seq"], file["key"])
    assert times >= 1 and problem
    sandbox.aws("s3").delete_object(**place, VersionId=damaged["VersionId"])
    sandbox.snowflake(
        "UPDATE ANALYTICS.SYNC.SWEEPS SET swept_at = DATEADD(DAY, -6, swept_at) "
        f"WHERE file_name = '{name}'"
    )
    sweep(sandbox)
    sandbox.merged(table, last)
    same(sandbox, table)
    assert overdue(sandbox, table) == []


def test_what_came_while_a_pipe_was_made_anew_is_loaded(sandbox):
    """A new pipe knows nothing of what its predecessor heard and loaded."""
    table = filled(sandbox)
    pipe = objects(table)["pipe"]
    arns = [each["TopicArn"] for each in sandbox.aws("sns").list_topics()["Topics"]]
    [topic] = [arn for arn in arns if arn.endswith("-files")]
    sandbox.snowflake(f"DROP PIPE {pipe}")
    write(sandbox, table, 4, 7)
    lost = sandbox.tick(table)["seq"]
    place = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
    sandbox.snowflake(
        f"CREATE PIPE {pipe} AUTO_INGEST = TRUE AWS_SNS_TOPIC = '{topic}' "
        f"AS {copy_statement(place, table)}"
    )
    write(sandbox, table, 8, 8)
    last = sandbox.tick(table)["seq"]
    until(lambda: receipts(sandbox, table)[-1][-1], "the last file is merged")
    assert [row[0] for row in overdue(sandbox, table)] == [lost]
    late(sandbox, table)
    sweep(sandbox)
    sandbox.merged(table, last)
    same(sandbox, table)


def receipts(sandbox: Sandbox, table: Table) -> list[Any]:
    """Return what is known of each file, the oldest first."""
    return sandbox.snowflake(
        "SELECT file_name, rows_exported, rows_loaded, rows_applied, complete "
        "FROM ANALYTICS.SYNC.SYNC_FILES "
        f"WHERE table_name = '{table.spec.table_name}' ORDER BY seq"
    )


def manifest(sandbox: Sandbox, table: Table, seq: int) -> str:
    """Return a manifest's key."""
    [(key,)] = sandbox.snowflake(
        "SELECT manifest FROM ANALYTICS.SYNC.SYNC_RUNS "
        f"WHERE table_name = '{table.spec.table_name}' AND seq = {seq}"
    )
    return str(key)
