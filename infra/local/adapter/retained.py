"""What left the program and stays in Snowflake: nobody knows of it until it is adopted.

Pulumi forgets what it retains. When the program has it again, the provider would make
it, and Snowflake refuses: it exists. Only an import takes it back.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from infra.local.adapter.record import RETAINED, Resource
from infra.local.adapter.site import Inputs, Site
from infra.local.adapter.snowflake import known_columns, moved
from infra.local.adapter.snowflake_text import made
from infra.local.parts import LocalError, LocalStack
from runtime.contract.names import quote_snowflake

TABLE = "snowflake:index/table:Table"
_SCHEMA = "snowflake:index/schema:Schema"
# Facts of the stack: what is retained, and what the next deployment takes back.
_RETAINED, ADOPT = "retained", "adopt"

Key = tuple[str, str]


def retained(stack: LocalStack) -> dict[Key, Inputs]:
    """Return the last inputs of what is retained, by type and full name."""
    return {
        (entry["type"], entry["id"]): entry["inputs"]
        for entry in stack.fact(_RETAINED, [])
    }


def note(
    site: Site, before: Mapping[Key, Resource], now: Mapping[Key, Resource]
) -> None:
    """Note what a deployment has left behind, and what it has taken back.

    Args:
        site: Where it ran.
        before: What stood before it, by type and logical name.
        now: What stands now.
    """
    held = {(one.type, one.id) for one in now.values()}
    known = [
        {"type": kind, "id": own, "inputs": inputs}
        for (kind, own), inputs in {**site.retained, **dict(_left(before, now))}.items()
        if (kind, own) not in held
    ]
    site.stack.put_fact(_RETAINED, known)
    site.stack.put_fact(ADOPT, [])


def _left(
    before: Mapping[Key, Resource], now: Mapping[Key, Resource]
) -> Iterable[tuple[Key, Inputs]]:
    for key, one in before.items():
        if RETAINED in one.options and one.type in (TABLE, _SCHEMA):
            other = now.get(key)
            if other is None or moved(one.inputs, other.inputs):
                yield (one.type, one.id), one.inputs


def adopted(
    site: Site, kind: str, name: str, inputs: Inputs, import_id: str | None
) -> dict[str, Any] | None:
    """Return what the record would have of something that an import takes over.

    Args:
        site: Where the deployment runs.
        kind: The resource's type.
        name: Its logical name.
        inputs: Its inputs.
        import_id: The provider's id that the program gives; empty: none.

    Returns:
        Its id and inputs as it stands; None of what is to be made, or is known.

    Raises:
        LocalError: It is retained and not imported, or imported and not there.
    """
    if kind not in (TABLE, _SCHEMA) or (kind, name) in site.before:
        return None
    own, _ = made(inputs)
    if not import_id and (kind, own) not in site.retained:
        return None
    if kind == _SCHEMA:
        return _schema(site, own, inputs, import_id)
    there = known_columns(site, inputs)
    if not import_id:
        if there:
            raise _exists(own, "table")
        return None
    wanted = "|".join(inputs[key] for key in ("database", "schema", "name"))
    _check(own, import_id, wanted, bool(there))
    last = site.retained.get((kind, own), inputs)
    declared = {column["name"]: column for column in last["columns"]}
    columns = [declared.get(each, {"name": each, "type": ""}) for each in sorted(there)]
    return {"id": own, "inputs": {**inputs, "columns": columns}}


def _schema(
    site: Site, own: str, inputs: Inputs, import_id: str | None
) -> dict[str, Any] | None:
    database = quote_snowflake(inputs["database"])
    found = site.sql(f"SHOW SCHEMAS IN DATABASE {database}")
    there = inputs["name"] in {row["name"] for row in found}
    if import_id:
        _check(own, import_id, own, there)
        return {"id": own, "inputs": inputs}
    # The provider takes a PUBLIC that it finds.
    if there and inputs["name"] != "PUBLIC":
        raise _exists(own, "schema")
    return None


def _check(own: str, given: str, wanted: str, there: bool) -> None:
    if given != wanted:
        raise LocalError(
            "is imported by an id that the provider does not know",
            subject=own,
            got=given,
            allowed=wanted,
            remedy="correct it in the program",
        )
    if not there:
        raise LocalError(
            "is not there and cannot be adopted",
            subject=own,
            remedy="deploy again: this time it is made",
        )


def _exists(own: str, kind: str) -> LocalError:
    return LocalError(
        f"already exists, as this {kind} stayed when it left the program",
        subject=own,
        remedy="run `aurora-sync adopt TABLE` for each table that comes back, and "
        "deploy again; or drop it",
    )
