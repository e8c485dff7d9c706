"""Runs that must fail: what they may leave behind, and how to make them fail."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from infra.local.vault import vault_client
from runtime.contract.names import LakeKeys
from runtime.contract.records import (
    STATE_KEY,
    LedgerState,
    ledger_key,
    state_from_item,
)
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter.lake import Lake
from tests.integration.conftest import Sandbox

_WRITE, _READ = TypeSerializer(), TypeDeserializer()


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait until something holds and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not after {seconds} s: {what}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One deployed table whose runs are made to fail and to succeed again."""

    sandbox: Sandbox
    table: Table

    @cached_property
    def function(self) -> dict[str, Any]:
        """The deployed function's configuration."""
        found: dict[str, Any] = self.sandbox.aws("lambda").get_function_configuration(
            FunctionName=self.sandbox.outputs["function"]
        )
        return found

    @cached_property
    def settings(self) -> ExporterSettings:
        """What the deployed function knows of its surroundings."""
        return ExporterSettings.from_env(self.function["Environment"]["Variables"])

    @property
    def keys(self) -> LakeKeys:
        return LakeKeys(stack=self.settings.stack, table=self.table.spec.source)

    @cached_property
    def integration(self) -> dict[str, str]:
        """What Snowflake knows of its access to the lake."""
        rows = self.sandbox.snowflake("DESC STORAGE INTEGRATION ANALYTICS_LAKE")
        return {row[0]: row[2] for row in rows}

    @cached_property
    def roles(self) -> dict[str, str]:
        """The ARNs of the deployed roles, by who takes them."""
        return {
            "exporter": self.function["Role"],
            "aurora": self.sandbox.local.fact("aurora_role_arn"),
            "snowflake": self.integration["STORAGE_AWS_ROLE_ARN"],
            "checker": self.sandbox.aws("lambda").get_function_configuration(
                FunctionName=self.sandbox.outputs["checker"]
            )["Role"],
        }

    @property
    def lake(self) -> Lake:
        """The table's manifests."""
        settings = self.settings
        s3 = self.sandbox.aws("s3")
        return Lake(s3, settings.bucket, settings.kms_key_arn, self.keys)

    # --- what a run leaves behind

    def objects(self, prefix: str) -> list[str]:
        """Return the keys below a prefix of the bucket."""
        pages = self.sandbox.aws("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.settings.bucket, Prefix=prefix)
        return [each["Key"] for page in found for each in page.get("Contents", [])]

    @property
    def _item_key(self) -> dict[str, Any]:
        key = ledger_key(self.settings.stack, self.table.spec.source)
        return {
            "TableName": self.settings.ledger_table,
            "Key": {"pk": _WRITE.serialize(key), "sk": _WRITE.serialize(STATE_KEY)},
        }

    @property
    def state(self) -> LedgerState:
        """The table's state in the ledger."""
        item = self.sandbox.aws("dynamodb").get_item(
            **self._item_key, ConsistentRead=True
        )["Item"]
        return state_from_item({k: _READ.deserialize(v) for k, v in item.items()})

    def put(self, **attributes: Any) -> None:
        """Change attributes of the table's state, as if a run had done it."""
        self.sandbox.aws("dynamodb").update_item(
            **self._item_key,
            AttributeUpdates={
                name: {"Action": "PUT", "Value": _WRITE.serialize(value)}
                for name, value in attributes.items()
            },
        )

    def leased_users(self) -> list[str]:
        """Return the database users that Vault has leased and not taken back."""
        rows = self.sandbox.aurora(
            "SELECT rolname FROM pg_catalog.pg_roles WHERE rolvaliduntil IS NOT NULL"
        )
        return [name for (name,) in rows]

    def take_back_leases(self) -> None:
        """Revoke what a run could not."""
        creds = f"{self.settings.vault_database_mount}/creds"
        system: Any = vault_client(self.sandbox.local).sys
        system.revoke_prefix(f"{creds}/{self.settings.vault_database_role}")
        until(lambda: not self.leased_users(), "all leased users are gone")

    def moved(self) -> tuple[Any, ...]:
        """Return all that only a successful run may change."""
        state = self.state
        return (
            (state.seq, state.watermark, state.high, state.fresh, state.load),
            (state.generation, state.contract, state.last_run),
            self.objects(self.keys.manifests),
        )

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Hold that the block moves nothing and leaves no file."""
        before = self.moved(), self.objects(self.keys.exports)
        yield
        assert (self.moved(), self.objects(self.keys.exports)) == before

    # --- runs

    def invoke(self, **event: Any) -> dict[str, Any]:
        """Call the deployed function; an error that it raises has `errorMessage`."""
        answer = self.sandbox.aws("lambda").invoke(
            FunctionName=self.sandbox.outputs["function"], Payload=json.dumps(event)
        )
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        assert ("FunctionError" in answer) == ("errorMessage" in payload), payload
        return payload

    def refused(
        self, code: str, *words: str, files: int = 0, noted: bool = True
    ) -> dict[str, Any]:
        """Run once and hold that it fails with one clear error and moves nothing.

        Args:
            code: The error's code.
            words: What the message must name: the step, its subject.
            files: Export files without a manifest that the run may leave.
            noted: Whether the ledger shows the error.
        """
        before, exports = self.moved(), self.objects(self.keys.exports)
        answer = self.sandbox.tick(self.table)
        assert answer["status"] == "failed", answer
        error: dict[str, Any] = answer["error"]
        self.check(error, code, *words, noted=noted)
        assert self.moved() == before
        assert len(self.objects(self.keys.exports)) == len(exports) + files
        assert self.leased_users() == []
        return error

    def check(
        self, error: dict[str, Any], code: str, *words: str, noted: bool = True
    ) -> None:
        """Hold what an error tells, and that the ledger tells it too."""
        message = error["message"]
        assert error["code"] == code, message
        assert [word for word in words if word not in message] == [], message
        assert "\n" not in message
        assert error["remedy"] and message.endswith(error["remedy"])
        assert "Traceback" not in message and "botocore" not in message
        if noted:
            state = self.state
            assert state.lease_run == ""
            assert state.refusal is not None
            assert {name: state.refusal[name] for name in error} == error

    def recovers(self, links: int = 1) -> dict[str, Any]:
        """Run once and hold that it succeeds, and that the refusal is gone.

        Args:
            links: Manifests that the ledger goes on by: one more for each that it
                had missed.
        """
        before = self.state
        answer = self.sandbox.tick(self.table)
        assert answer["status"] == "done", answer
        after = self.state
        assert answer["seq"] == after.seq == before.seq + links
        assert answer["rows_exported"] > 0
        assert (after.watermark or "") > (before.watermark or "")
        assert (after.refusal, after.lease_run, after.load) == (None, "", None)
        assert self.keys.manifest_key(after.seq) in self.objects(self.keys.manifests)
        assert self.leased_users() == []
        return answer

    @contextmanager
    def under_way(self) -> Iterator[list[dict[str, Any]]]:
        """Run in the background; the list holds the answer after the block."""
        answers: list[dict[str, Any]] = []
        event = {"table": self.table.spec.table_name, "report_errors": True}
        run = threading.Thread(target=lambda: answers.append(self.invoke(**event)))
        run.start()
        try:
            yield answers
        finally:
            run.join(timeout=60)
            assert answers, "the run has not ended"


# --- whose rights there are


def role_name(arn: str) -> str:
    return arn.rpartition("/")[2]
