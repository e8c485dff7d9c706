"""The part `metrics`: `python -m infra.local.adapter.metrics DIR`.

Forwards the metrics in the function's log, as CloudWatch does by itself, so that the
stack's alarms are evaluated.
"""

import logging
import sys
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.emf import EmfState, forward_emf_metrics
from infra.local.parts import Command, LocalStack, Part

_EVERY_SECONDS = 5


def main(folder: str) -> None:
    """Forward until the process is ended."""
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stdout)
    stack = LocalStack(Path(folder))
    # What is older has been forwarded by the process before.
    state = EmfState(since_ms=int(time.time() * 1000))
    while True:
        time.sleep(_EVERY_SECONDS)
        function = stack.fact("outputs", {}).get("function")
        if function is None:
            continue
        try:
            forward_emf_metrics(stack, f"/aws/lambda/{function}", state)
        except (BotoCoreError, ClientError) as error:
            logging.warning("metrics wait: %s", error)


def _command(stack: LocalStack) -> Command:
    return Command(
        argv=(sys.executable, "-m", "infra.local.adapter.metrics", str(stack.dir)),
        env={"PATH": "/usr/bin:/bin", "HOME": str(stack.part_dir("metrics"))},
    )


PART = Part(
    name="metrics",
    ports=(),
    needs=("aws",),
    command=_command,
    # It serves nobody: nothing waits for it.
    is_ready=lambda stack: True,
)

if __name__ == "__main__":
    main(sys.argv[1])
