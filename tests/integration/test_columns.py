"""Columns masked, renamed and with rules for misfits, rows filtered: all the way."""

import hmac
import json
from contextlib import closing
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from runtime.contract.loader import load_tables
from runtime.contract.specs import Table
from runtime.ops import contracts
from runtime.ops.source import connect
from tests.integration.conftest import Sandbox

KEY = b"known to this test"
DDL = """
CREATE TABLE public.patients (
  id BIGINT PRIMARY KEY, email TEXT, zip VARCHAR(9), "Full Name" TEXT, born DATE,
  doc JSON, scores NUMERIC[], visits INT[], state TEXT NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
)
"""
ENTRY: dict[str, Any] = {
    "table_name": "public.patients",
    "watermark_col": "updated_at",
    "primary_key": "id",
    "merge_interval": "PT10S",
    "max_delete_fraction": 1,
    "where": "state <> 'test' -- people only",
    "masks": {"email": "hash", "zip": "truncate:2", "Full Name": "redact"},
    "rename": {"Full Name": "Who", "born": "Birth Day"},
    "misfits": {"born": "text", "doc": "text", "scores": "null", "visits": "text"},
}
ROWS = """
INSERT INTO public.patients VALUES
  (1, 'ann@x.org', '12345', 'Ann', '1999-12-31', '{"a": 1}', '{1.5,NULL}', '{1,2}',
   'new', NOW() - INTERVAL '90 d'),
  (2, 'ann@x.org', NULL, NULL, 'infinity', '{"a": 1, "a": 2}', '{1e50}', '[0:1]={1,2}',
   'new', NOW() - INTERVAL '90 d'),
  (3, NULL, '', 'B|~', '0044-03-15 BC', '[1e999, "\\ud800"]', '{NaN}', '{}',
   'new', NOW() - INTERVAL '90 d'),
  (4, 'test@x.org', '9', 'Nobody', NULL, NULL, NULL, NULL, 'test', NOW())
"""


class Patients:
    """The table, with an operator's hands."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        sandbox.aurora(DDL)
        sandbox.aurora(ROWS)

    def deploy(self, **changes: Any) -> contracts.Refreshed:
        entry = ENTRY | changes
        self.sandbox.config.write_text(json.dumps({"tables": [entry]}))
        with closing(connect(postgres.aurora_dsn(self.sandbox.local))) as session:
            [done] = contracts.refresh(self.sandbox.config, session)
        self.sandbox.tables = list(load_tables(self.sandbox.config))
        self.sandbox.deploy()
        return done

    @property
    def table(self) -> Table:
        [table] = self.sandbox.tables
        return table

    def rows(self, columns: str) -> list[Any]:
        return self.sandbox.snowflake(
            f"SELECT {columns} FROM ANALYTICS.PUBLIC.PATIENTS "
            "WHERE _deleted_at IS NULL ORDER BY id"
        )

    def cli(self, *words: str) -> Any:
        where = ["--dir", str(self.sandbox.folder)]
        where += ["--config", str(self.sandbox.config)]
        result = CliRunner().invoke(app, [*words, "--json", *where])
        found = json.loads(result.stdout)
        return found[0] if isinstance(found, list) else found

    def clear_values(self) -> list[str]:
        """Return what of the clear values stands in any file or landing row."""
        s3, bucket = self.sandbox.aws("s3"), self.sandbox.outputs["bucket"]
        prefix = f"exports/local/{self.table.spec.source.slug}/"
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        texts = [
            s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read().decode()
            for each in found
        ]
        landed = self.sandbox.snowflake(
            "SELECT * FROM ANALYTICS.LANDING.PUBLIC__PATIENTS"
        )
        everything = "\n".join([*texts, str(landed)])
        clear = ("ann@", "test@", "12345", "Ann", "B|~", "Nobody")
        return [value for value in clear if value in everything]


@pytest.fixture(scope="module")
def patients(sandbox: Sandbox) -> Patients:
    """The table as it is deployed and loaded at first."""
    made = Patients(sandbox)
    made.deploy()
    sandbox.aurora("SELECT aurora_sync.new_mask_key(%s)", KEY)
    sandbox.sync(made.table)
    return made


def hashed(text: str) -> str:
    return hmac.new(KEY, text.encode(), "sha256").hexdigest()


def test_rows_arrive_as_the_entry_says(patients):
    assert patients.rows('id, email, zip, "Who"') == [
        (1, hashed("ann@x.org"), "12", "***"),
        (2, hashed("ann@x.org"), None, None),
        (3, None, "", "***"),
    ]
    born = patients.rows('"Birth Day"::VARCHAR, "Birth Day__TEXT"')
    assert born == [("1999-12-31", None), (None, "infinity"), (None, "0044-03-15 BC")]
    docs = patients.rows("doc, doc__text")
    assert [(doc and json.loads(doc), text) for doc, text in docs] == [
        ({"a": 1}, None),
        (None, '{"a": 1, "a": 2}'),
        (None, '[1e999, "\\ud800"]'),
    ]
    lists = patients.rows("scores, visits, visits__text")
    assert [[each and json.loads(each) for each in row[:2]] for row in lists] == [
        [[1.5, None], [1, 2]],
        [None, None],
        [["NaN"], []],
    ]
    assert [row[2] for row in lists] == [None, "[0:1]={1,2}", None]
    assert patients.clear_values() == []


def test_what_is_null_by_its_rule_is_counted(patients):
    last = patients.cli("status")["last_run"]
    assert (last["rows_exported"], last["rows_quarantined"]) == (3, 0)
    assert last["values_nulled"] == 1


def test_both_sides_are_equal_under_the_rules_and_a_difference_is_found(patients):
    found = patients.cli("verify")
    assert found["verdict"] == "equal", found
    assert (found["source_rows"], found["excluded_rows"]) == (3, 1)
    for damage, column in (
        ("email = LEFT(email, 63) || 'x'", "email"),
        ("\"Birth Day__TEXT\" = '-infinity'", "born"),
        ("scores = PARSE_JSON('[1]')", "scores"),
        ("visits__text = '[1:2]={1,2}'", "visits"),
    ):
        patients.sandbox.snowflake(
            f"UPDATE ANALYTICS.PUBLIC.PATIENTS SET {damage} WHERE id = 2"
        )
        found = patients.cli("verify")
        assert found["verdict"] == "different"
        assert found["samples"][0]["columns"] == [column]
        assert patients.cli("repair", "public.patients", "2")["sound"]


def test_a_row_that_leaves_the_filter_leaves_the_target(patients):
    sandbox = patients.sandbox
    sandbox.aurora("UPDATE patients SET state = 'test' WHERE id = 1")
    sandbox.aurora("UPDATE patients SET state = 'new', zip = '77' WHERE id = 4")
    sandbox.aurora("UPDATE patients SET updated_at = NOW()")
    sandbox.sync(patients.table)
    answer = sandbox.tick(patients.table, reconcile=True)
    sandbox.merged(patients.table, answer["reconcile_seq"])
    sandbox.quiet(patients.table)
    assert [int(key) for (key,) in patients.rows("id")] == [2, 3, 4]
    assert patients.cli("verify")["verdict"] == "equal"


def test_another_key_is_seen_by_verify_and_mended_by_a_backfill(patients):
    sandbox = patients.sandbox
    sandbox.aurora("SELECT aurora_sync.new_mask_key()")
    assert patients.cli("verify")["verdict"] == "different"
    answer = sandbox.tick(patients.table, backfill="")
    sandbox.merged(patients.table, answer["seq"])
    assert patients.cli("verify")["verdict"] == "equal"


def test_the_contract_holds_what_was_checked(patients):
    contract = msgspec.to_builtins(patients.table.contract)
    assert contract["where"] == ENTRY["where"]
    frozen = {
        column["name"]: (column["mask"], column["misfit"], column["rename"])
        for column in contract["columns"]
        if not column["dropped"]
    }
    assert frozen["email"] == ("hash", "fail", None)
    assert frozen["born"] == (None, "text", "Birth Day")
