"""One table's way from Aurora to its target, and what the deployed roles may do."""

from decimal import Decimal

import pytest
from botocore.exceptions import ClientError

from infra.local.aws import assumed_client
from tests.integration.conftest import Sandbox

ORDERS = """
  order_id BIGINT PRIMARY KEY,
  status TEXT,
  amount NUMERIC(12, 2),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
"""


def test_rows_arrive_change_and_arrive_again(sandbox: Sandbox) -> None:
    """Two syncs: the first load, then only what changed."""
    table = sandbox.table(ORDERS)
    name = table.spec.source.sql
    sandbox.aurora(
        f"INSERT INTO {name} SELECT g, '', g / 3.0, NOW() - INTERVAL '90 days' "
        "FROM generate_series(1, 500) AS g"
    )
    first = sandbox.sync(table)
    assert (first["mode"], first["rows_exported"]) == ("first_load", 500)
    sandbox.aurora(
        f"UPDATE {name} SET status = NULL, updated_at = NOW() WHERE order_id = 7"
    )
    second = sandbox.sync(table)
    assert second["rows_exported"] == 1
    target = f"ANALYTICS.PUBLIC.{table.spec.target[1]}"
    assert sandbox.snowflake(
        f"SELECT COUNT(*), COUNT(status), SUM(amount::NUMBER(38, 2)) FROM {target}"
    ) == [(500, 499, Decimal(sandbox.aurora(f"SELECT SUM(amount) FROM {name}")[0][0]))]


def test_a_file_that_appears_in_the_lake_is_merged_without_the_exporter(
    sandbox: Sandbox,
) -> None:
    """The Snowflake half alone: event, pipe, stream, task."""
    table = sandbox.table(ORDERS)
    stamp = f"000001-{1:020d}-{1_000_000_000:010d}"
    sandbox.aws("s3").put_object(
        Bucket=sandbox.outputs["bucket"],
        Key=f"exports/local/{table.spec.source.slug}/by-hand/{stamp}_4_c0.csv",
        Body=b'1,"a ""b"" \\N",0.10,2026-01-02 03:04:05.000006+00\n',
    )
    target = f"ANALYTICS.PUBLIC.{table.spec.target[1]}"
    deadline = 100
    while not (rows := sandbox.snowflake(f"SELECT status, amount FROM {target}")):
        deadline -= 1
        assert deadline, "not merged"
    assert rows == [('a "b" \\N', Decimal("0.10"))]


@pytest.mark.parametrize("key", ["manifests/local/x.json", "exports/other/x.csv"])
def test_the_clusters_role_may_write_this_stacks_exports_only(
    sandbox: Sandbox, key: str
) -> None:
    s3 = assumed_client(
        sandbox.local, "s3", "aurora", sandbox.local.fact("aurora_role_arn")
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=sandbox.outputs["bucket"], Key=key, Body=b"")
