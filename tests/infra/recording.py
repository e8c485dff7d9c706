"""Runs the Pulumi program without an engine and records its resource graph."""

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from infra import bundle
from infra.planning import recording
from infra.program import deploy
from infra.stack import PROJECT, ROOT

# Pulumi's own parser, which has no type stubs.
_yaml: Any = importlib.import_module("yaml")
_SECRET = "4dabf18193072939515e22adb298388d"
SNOWFLAKE_USER = "arn:aws:iam::999988887777:user/snowflake"
SECRETS = {"private_key": "the key in PEM form", "password": "for-vault-only"}


@dataclass(frozen=True, kw_only=True)
class Recorded(recording.Registered):
    """One registered resource, its inputs unwrapped.

    Attributes:
        secrets: Names of the inputs that arrived as secrets.
    """

    secrets: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Everything a program registered, in order."""

    resources: list[Recorded] = field(default_factory=list)
    calls: list[MockCallArgs] = field(default_factory=list)

    def of(self, type_: str, name_part: str = "") -> list[Recorded]:
        """Return the resources of a type; `aws:s3/bucket` matches the whole token."""
        return [
            each
            for each in self.resources
            if each.type.rpartition(":")[0] == type_ and name_part in each.name
        ]

    def one(self, type_: str, name_part: str = "") -> Recorded:
        """Return the only resource of a type."""
        (found,) = self.of(type_, name_part)
        return found

    def above(self, resource: Recorded) -> set[str]:
        """Return the URNs of everything a resource waits for, directly or not.

        To wait for a component is to wait for what is in it.
        """
        by_urn = {each.urn: each for each in self.resources}
        found: set[str] = set()
        todo = list(resource.needs)
        while todo:
            urn = todo.pop()
            if urn in found or urn not in by_urn:
                continue
            found.add(urn)
            todo += by_urn[urn].needs
            todo += [each.urn for each in self.resources if each.parent == urn]
        return found


class _Mocks(Mocks):
    """Gives every resource the outputs that other resources read."""

    def __init__(self, calls: list[MockCallArgs]) -> None:
        self._calls = calls
        self._place = ""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict]:
        if not args.custom:
            return None, {}
        inputs = _plain(args.inputs)
        if args.typ == "pulumi:providers:aws":
            (account,) = json.loads(inputs["allowedAccountIds"])
            self._place = f"{inputs['region']}:{account}"
        return f"{args.name}-id", {**args.inputs, **_outputs(args, inputs, self._place)}

    def call(self, args: MockCallArgs) -> dict:  # type: ignore[override]
        self._calls.append(args)
        kind = args.token.rpartition(":")[2]
        if kind == "getSecretV2":
            return {"data": SECRETS, "version": 3}
        if kind == "getCluster":
            name = args.args["clusterIdentifier"]
            return {"clusterResourceId": f"cluster-OF-{name}"}
        if kind == "getManagedPrefixList":
            return {"id": "pl-" + args.args["name"]}
        if kind == "getSystemGetAwsSnsIamPolicy":
            statement = {"Principal": {"AWS": SNOWFLAKE_USER}}
            return {"awsSnsTopicPolicyJson": json.dumps({"Statement": [statement]})}
        raise AssertionError(f"unknown call {args.token}")


def _outputs(
    args: MockResourceArgs, inputs: dict[str, Any], place: str
) -> dict[str, Any]:
    service, _, kind = args.typ.removeprefix("aws:").partition("/")
    name = inputs.get("name", inputs.get("bucket", args.name))
    found: dict[str, Any] = {}
    if args.typ.startswith("aws:"):
        name_there = f"key/{name}" if service == "kms" else name
        found["arn"] = f"arn:aws:{service}:{place}:{name_there}"
        found |= {"url": f"https://{name}", "prefixListId": f"pl-{args.name}"}
        found["keyId"] = args.name
    if args.typ.startswith("snowflake:"):
        parts = [inputs.get("database"), inputs.get("schema"), name]
        found["fullyQualifiedName"] = ".".join(f'"{part}"' for part in parts if part)
        found["describeOutputs"] = [{"iamUserArn": SNOWFLAKE_USER}]
        found["awsSnsIamUserArn"] = SNOWFLAKE_USER
        found["awsSnsExternalId"] = "made-up-by-Snowflake"
        found["notificationChannel"] = "arn:aws:sqs:eu-west-1:999988887777:sf-1"
    if args.typ.startswith("vault:appRole"):
        found["roleId"] = "role-id"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if _SECRET in value:
            return _plain(value["value"])
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def example_settings(stack: str = "dev") -> dict[str, Any]:
    """Return the settings of a `Pulumi.<stack>.yaml`, without the project's name."""
    config = _yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {
        key.partition(":")[2]: value
        for key, value in config.items()
        if key.startswith(f"{PROJECT}:")
    }


def packed(config: Path, folder: Path, **changes: Any) -> Path:
    """Write a bundle of our own files alone, as the program checks them."""
    target = {"python": "3.13", "machine": "x86_64"} | changes
    files = bundle.project_files(config)
    files |= {
        "bundle.json": json.dumps(target).encode(),
        "config/certs/eu-west-1-bundle.pem": b"",
    }
    return bundle.write(files, folder / "exporter.zip")


@contextmanager
def _recording(settings: dict[str, Any], stack: str) -> Iterator[Graph]:
    graph = Graph()
    values = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
    with recording.recording(_Mocks(graph.calls), values, stack) as made:
        try:
            yield graph
        finally:
            graph.resources.extend(map(_recorded, made.resources))


def _recorded(one: recording.Registered) -> Recorded:
    plain = {
        each.name: getattr(one, each.name)
        for each in fields(one)
        if each.name != "inputs"
    }
    secrets = frozenset(
        key
        for key, value in one.inputs.items()
        if isinstance(value, dict) and _SECRET in value
    )
    return Recorded(**plain, inputs=_plain(one.inputs), secrets=secrets)


def run(settings: dict[str, Any], stack: str = "dev") -> Graph:
    """Run the program with these settings to its end and return what it registered.

    Raises:
        Exception: Whatever the program raised, as it was.
    """
    with _recording(settings, stack) as graph:
        recording.run(deploy)
    return graph


def run_recording(
    settings: dict[str, Any],
    program: Callable[[], None] = deploy,
    *,
    stack: str = "dev",
) -> tuple[Graph, str]:
    """Run a program that is expected to fail; return what it registered, and why."""
    with _recording(settings, stack) as graph:
        try:
            recording.run(program)
        except Exception as error:
            return graph, f"{type(error).__name__}: {error}"
    return graph, ""
