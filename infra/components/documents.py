"""Policy documents whose parts are known only once other resources exist."""

import json
from collections.abc import Callable
from typing import Any

import pulumi


def rendered(
    render: Callable[..., dict[str, Any]], **inputs: pulumi.Input[Any]
) -> pulumi.Output[str]:
    """Return the JSON text of a policy.

    Args:
        render: One of the functions of `infra.policies` or `infra.resource_policies`.
        **inputs: Its arguments.
    """
    return pulumi.Output.from_input(inputs).apply(
        lambda known: json.dumps(render(**known), sort_keys=True)
    )
