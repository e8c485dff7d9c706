"""The command `demo`: its folder, its end, and what to try next."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from infra.bundle import ROOT
from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import JsonOption
from runtime.contract.errors import ConfigError

FOLDER = ROOT / ".demo"
_CONFIG = Path(__file__).with_name("sync_config.json")
_OURS = {"stack", "config", ".lock"}


@guarded
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack up, to try things on it.")
    ] = False,
    folder: Annotated[
        Path,
        typer.Option("--dir", help="Folder of the demonstration.", file_okay=False),
    ] = FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Take a sample shop from Aurora to Snowflake on this machine, step by step."""
    from infra.cli.demo.page import Page
    from infra.cli.demo.stage import Stage
    from infra.cli.demo.story import Story
    from infra.local import stack

    page = Page(quiet=as_json)
    with _ground(folder):
        place = folder / "stack"
        if stack.down(place):
            output.warn(f"{place}: removed what the last demonstration left up")
        config = folder / "config" / _CONFIG.name
        shutil.rmtree(config.parent, ignore_errors=True)
        config.parent.mkdir()
        shutil.copyfile(_CONFIG, config)
        try:
            Story(Stage(place, config, page)).tell()
        finally:
            if not keep:
                stack.down(place)
                shutil.rmtree(folder)
    if as_json:
        output.print_json({"seconds": page.seconds, "chapters": page.chapters})
        return
    page.end(place if keep else None)


@contextmanager
def _ground(folder: Path) -> Iterator[None]:
    """Hold the folder, which nobody else uses."""
    if folder.exists() and not {path.name for path in folder.iterdir()} <= _OURS:
        raise ConfigError(
            "holds other things than a demonstration",
            subject=str(folder),
            allowed="an empty folder, or one that does not exist yet",
            remedy="name another one with --dir",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another demonstration runs in it",
                subject=str(folder),
                remedy="wait for its end, or name another folder with --dir",
            ) from None
        yield
