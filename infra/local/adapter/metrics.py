"""The part `metrics`: `python -m infra.local.adapter.metrics DIR`.

Forwards the metrics in the functions' logs, as CloudWatch does by itself, so that the
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
# The program's exports that name functions.
_FUNCTIONS = {"function", "checker"}


def main(folder: str) -> None:
    """Forward until the process is ended."""
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stdout)
    stack = LocalStack(Path(folder))
    # What is older has been forwarded by the process before.
    now = int(time.time() * 1000)
    states = {part: EmfState(since_ms=now) for part in _FUNCTIONS}
    while True:
        time.sleep(_EVERY_SECONDS)
        outputs = stack.fact("outputs", {})
        for part in _FUNCTIONS & outputs.keys():
            group = f"/aws/lambda/{outputs[part]}"
            try:
                forward_emf_metrics(stack, group, states[part])
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
