"""Runs MiniStack in an interpreter of its own, as `aws.py` starts it.

Started as a file, by the interpreter with the empty site-packages and with the
folder of the project's packages as argument: put on sys.path by hand, the packages
do not reach the processes of the functions.
"""

import os
import re
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def over_tls(app: App) -> App:
    """Return the ASGI application as it is behind something that ends TLS.

    MiniStack listens without TLS here, so that a bucket's own deny of plain http
    (aws:SecureTransport) would hit every SDK, the functions' too, which all use
    TLS in the cloud. A caller that means plain http says so with the header
    `X-Forwarded-Proto: http`, and is denied.
    """

    async def answer(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["scheme"] = "https"
        await app(scope, receive, send)

    return answer


def of_one(action: Callable[..., str | None]) -> Callable[..., str | None]:
    """Return what names the right that a request needs, as SQS has it.

    A batch needs the right to a single message; there is none to batches.
    Source: Service Authorization Reference, actions of Amazon SQS.
    """

    def answer(*request: Any) -> str | None:
        named = action(*request)
        return named.removesuffix("Batch") if named and named[:4] == "sqs:" else named

    return answer


def of_rules(start: Callable[..., None], names: str) -> Callable[..., None]:
    """Return what starts a rule's target, for rules with such a name alone.

    Others stand and start nothing: tests want to begin the runs themselves.
    """

    def answer(target: Any, event: Any, rule: dict[str, Any], *more: Any) -> None:
        if re.fullmatch(names, rule["Name"]):
            start(target, event, rule, *more)

    return answer


def main() -> None:
    """Serve until SIGTERM; all settings come from the environment."""
    sys.path.append(sys.argv.pop(1))
    from ministack import app
    from ministack.core import iam_actions
    from ministack.services import eventbridge, lambda_svc

    # Its own ten seconds between two looks at the schedules are long on a laptop.
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
    eventbridge._invoke_target = of_rules(
        eventbridge._invoke_target, os.environ["SCHEDULED_RULES"]
    )
    # Half a second in which a function cannot be called, with nothing to wait for.
    lambda_svc._LAMBDA_STATE_TRANSITION_DELAY = 0.05
    iam_actions.extract_iam_action = of_one(iam_actions.extract_iam_action)
    app.app = over_tls(app.app)
    app.main()


if __name__ == "__main__":
    main()
