"""How the inputs of a Snowflake resource become names and options of a statement."""

from typing import Any

from infra.local.adapter.site import Inputs, Made, snake
from runtime.contract.names import always_quoted, literal, quote_snowflake

_WORDS = ("NONE", "AUTO")
_PLACE = ("database", "schema", "name")


def name_of(inputs: Inputs) -> str:
    """Return the full name of an object, quoted where it must be."""
    return ".".join(
        quote_snowflake(inputs[key]) for key in _PLACE if inputs.get(key) is not None
    )


def made(inputs: Inputs) -> Made:
    """Return what the provider tells of an object: its full name, always quoted."""
    parts = [inputs[key] for key in _PLACE if inputs.get(key) is not None]
    full = always_quoted(*parts)
    return full, {"name": inputs["name"], "fullyQualifiedName": full}


def render(value: Any) -> str:
    """Return a value of an option as SQL text."""
    if isinstance(value, list):
        return "(" + ", ".join(literal(str(item)) for item in value) + ")"
    # The provider writes booleans that have a default in Snowflake as texts.
    if isinstance(value, int) or value in ("true", "false"):
        return str(value).upper()
    return value if value in _WORDS else literal(value)


def options(inputs: Inputs, *but: str) -> str:
    """Return the inputs beside the object's name as `KEY = value …`.

    Args:
        inputs: The inputs; those without a value are left out.
        *but: Inputs that are no options.
    """
    return " ".join(
        f"{snake(key).upper()} = {render(value)}"
        for key, value in inputs.items()
        if key not in (*_PLACE, *but) and value is not None
    )
