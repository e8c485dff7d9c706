"""`letters`: what was given up lies among the dead letters; see it, send it again."""

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import DirOption, JsonOption, StackOption

if TYPE_CHECKING:
    from runtime.ops.letters import Letter

_MOST = 100
RedriveOption = Annotated[
    bool,
    typer.Option(
        "--redrive",
        help="Send chunks back to their load, let go of all that the next run covers.",
    ),
]


@guarded
def letters(
    redrive: RedriveOption = False,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters, or with --redrive send them again and empty the queue.

    Mend the cause first: `status` and the log say why. Exit 1 when any is left.
    """
    from infra.cli.target import resolve
    from runtime.ops.findings import deployed_settings
    from runtime.ops.letters import dead_letters

    target = resolve(stack, folder, None)
    queue = dead_letters(
        target.client("sqs"),
        target.client("lambda"),
        target.function,
        deployed_settings(target).load_queue_url,
    )
    found = list(queue.clear()) if redrive else queue.look(_MOST)
    left = queue.count()
    if as_json:
        output.print_json({"letters": found, "left": left})
    else:
        _show(found)
        output.warn(
            f"{output.plural(len(found), 'letter')} sent again or let go of, "
            f"{left} left"
            if redrive
            else f"{output.plural(left, 'letter')}"
        )
    if left:
        raise typer.Exit(1)


def _show(found: "list[Letter]") -> None:
    rows = [
        (
            each.kind,
            each.table or "-",
            "-" if each.chunk is None else str(each.chunk),
            each.run or each.request or "-",
            " ".join(each.cause.split())[:120],
        )
        for each in found
    ]
    if rows:
        output.print_grid(("Kind", "Table", "Chunk", "Run or request", "Cause"), rows)
