"""Whatever people give a command: one clear line, the right status, nothing left."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from infra.cli.app import app
from infra.local.parts import LocalStack
from infra.local.process_table import marked_processes
from tests.cli.conftest import SCRIPT, Local, aurora_sync

USAGE = re.compile(r"aurora-sync[ a-z-]*: .+; see `aurora-sync[ a-z-]* --help`")


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command that does something."""
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from leaves(below, (*path, name))
    else:
        yield path


def command_of(path: tuple[str, ...]) -> TyperCommand:
    found: Any = typer.main.get_command(app)
    for name in path:
        found = found.commands[name]
    assert isinstance(found, TyperCommand)
    return found


def options(path: tuple[str, ...]) -> set[str]:
    """Return the names of a command's options."""
    return {each for param in command_of(path).params for each in param.opts}


def filled(path: tuple[str, ...]) -> list[str]:
    """Return the command with something plausible for all that it must be given."""
    words = list(path)
    for param in command_of(path).params:
        kind = getattr(param, "type_descriptor").annotation
        choices: list[Any] = list(kind) if isinstance(kind, EnumMeta) else []
        if param.required:
            words += [] if isinstance(param, TyperArgument) else param.opts[:1]
            words += [choices[0].value if choices else "public.orders"]
    return words


COMMANDS = sorted(leaves(typer.main.get_command(app)))
ON_A_STACK = [path for path in COMMANDS if "--stack" in options(path)]
LOCAL = [path for path in COMMANDS if path[0] == "local"]


def test_there_are_commands():
    assert {"sync", "status", "verify"} < {path[-1] for path in ON_A_STACK}
    assert {"up", "deploy", "down", "status", "sql"} <= {path[-1] for path in LOCAL}


def line(status: int, *arguments: str | Path) -> str:
    """Run a command that must fail with this status and one line; return the line."""
    result = aurora_sync(*arguments)
    assert (result.exit_code, result.stdout) == (status, ""), result.stderr
    (told,) = result.stderr.splitlines()
    assert "mistake in this program" not in told
    return told


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
class TestUsage:
    """Wrong usage is told in one line that leads to the command's help."""

    def test_an_unknown_option(self, path):
        told = line(2, *path, "--nonsense")
        assert USAGE.fullmatch(told) and "no such option: --nonsense" in told
        assert f"`aurora-sync {' '.join(path)} --help`" in told

    def test_files_where_folders_belong_and_the_reverse(self, path, tmp_path):
        (tmp_path / "file").touch()
        for option, place in (("--dir", tmp_path / "file"), ("--config", tmp_path)):
            if option in options(path):
                told = line(2, *filled(path), option, place)
                assert option in told and str(place) in told


COUNTED = [
    path
    for path in COMMANDS
    if filled(path) != list(path) or all(p.nargs == 1 for p in command_of(path).params)
]


@pytest.mark.parametrize("path", COUNTED, ids=" ".join)
def test_an_argument_too_many_or_too_few(path):
    words = path if filled(path) != list(path) else (*path, "one")
    assert USAGE.fullmatch(line(2, *words))


@pytest.mark.parametrize("arguments", [("bogus",), ("local", "bogus")])
def test_an_unknown_command(arguments):
    told = line(2, *arguments)
    assert USAGE.fullmatch(told) and "no such command 'bogus'" in told


@pytest.mark.parametrize("path", ON_A_STACK, ids=" ".join)
class TestStacks:
    """A stack that is not there, has died, or whose state is damaged."""

    def test_none(self, path, tmp_path):
        told = line(2, *filled(path), "--dir", tmp_path / "none")
        assert "no local stack is up" in told and "`aurora-sync local up`" in told

    def test_dead_parts(self, path, tmp_path):
        dead = subprocess.Popen(["true"])
        dead.wait()
        record = {"pid": dead.pid, "create_time": 1.0, "ready_pid": dead.pid}
        state = {"parts": {"postgres": record, "aws": record}}
        (tmp_path / "stack.json").write_text(json.dumps(state))
        if path == ("doctor",):
            # It says what it found of each part.
            found = aurora_sync(*path, "--dir", tmp_path)
            assert found.exit_code == 1 and "aurora-sync local up" in found.stdout
            return
        told = line(1, *filled(path), "--dir", tmp_path)
        assert "not running: " in told and "`aurora-sync local up`" in told

    @pytest.mark.parametrize("text", ["", "[]", '{"parts": ', "\0\xff"])
    def test_damaged_state(self, path, text, tmp_path):
        (tmp_path / "stack.json").write_text(text, encoding="latin-1")
        told = line(2, *filled(path), "--dir", tmp_path)
        assert "stack.json: is damaged" in told and "local down" in told


def test_the_way_out_of_damaged_state_is_one(tmp_path):
    (tmp_path / "stack.json").write_text("[]")
    assert "is damaged" in line(2, "local", "down", "--dir", tmp_path)
    (tmp_path / "stack.json").unlink()
    assert aurora_sync("local", "down", "--dir", tmp_path).exit_code == 0


@pytest.mark.parametrize("name", ["x" * 300, "file/below"])
def test_a_folder_that_cannot_be_is_told(name, tmp_path):
    (tmp_path / "file").touch()
    told = line(1, "local", "up", "--dir", tmp_path / name)
    assert "this machine refuses" in told and "check the path" in told


def test_a_folder_that_may_not_be_written_is_told(tmp_path):
    """Of the kernel's own, where not even root makes a file."""
    told = line(1, "local", "up", "--dir", "/proc/none")
    assert told.startswith("/proc/") and "this machine refuses" in told


def bad_configs(folder: Path) -> Iterator[Path]:
    """Yield files that are no config."""
    texts = ["", "{", "[]", '{"tables": {}}', '{"tables": [3]}', "[" * 100_000]
    texts += ['{"tables": [{"table_name": 5, "watermark_col": null}]}', "\0\xff\xfe"]
    for number, text in enumerate(texts):
        path = folder / f"{number}.json"
        path.write_text(text, encoding="latin-1")
        yield path
    yield folder / "missing.json"


# Two make a config where there is none; one asks for a terminal first.
_OTHERS = (("table", "add"), ("table", "suggest"), ("watch",))
CONFIGURED = [
    path for path in ON_A_STACK if path not in _OTHERS and "--config" in options(path)
]


def test_a_config_that_is_none_is_told_by_every_command(
    local: Local, tmp_path: Path
) -> None:
    paths = [*CONFIGURED, ("local", "deploy")]
    configs = list(bad_configs(tmp_path))
    # Each command meets some, and each config some command.
    for number in range(max(len(configs), 2 * len(paths))):
        path, config = paths[number % len(paths)], configs[number % len(configs)]
        result = local.run(*filled(path), "--config", config, status=2)
        lines = result.stderr.splitlines()
        assert lines and result.stdout == "", (path, config)
        for told in lines:
            if not told.startswith("bundle"):
                assert str(config) in told, (path, config)


def test_an_interrupted_command_says_so_and_leaves_the_stack_well(local: Local) -> None:
    """At any moment: from the reading of the program to its end."""
    arguments = ["local", "deploy", "--dir", str(local.folder)]
    for number, seconds in zip(
        itertools.cycle((signal.SIGINT, signal.SIGTERM)), (0.3, 1.5, 3.5)
    ):
        with subprocess.Popen(
            [str(SCRIPT), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as command:
            time.sleep(seconds)
            os.killpg(command.pid, number)
            _, told = command.communicate(timeout=60)
        if command.returncode:
            assert command.returncode == 130, told
            assert told.splitlines()[-1].startswith("interrupted"), told
        assert "Traceback" not in told and "Exception" not in told, told
    local.run("local", "deploy")
    assert local.run("local", "status").exit_code == 0
    assert not list(local.folder.glob(".exporter.zip.*"))


@pytest.mark.integration
def test_an_interrupted_start_is_taken_down_whole(tmp_path: Path) -> None:
    folder = tmp_path / "stack's Ümläut"
    up = [str(SCRIPT), "local", "up", "--no-deploy", "--dir", str(folder)]
    with subprocess.Popen(up, stderr=subprocess.PIPE, text=True) as command:
        while not LocalStack(folder).read().get("parts"):
            assert command.poll() is None
            time.sleep(0.05)
        command.send_signal(signal.SIGINT)
        _, told = command.communicate(timeout=60)
    assert command.returncode == 130 and "Traceback" not in told, told
    assert aurora_sync("local", "down", "--dir", folder).exit_code == 0
    assert list(marked_processes(LocalStack(folder))) == []
    assert list(tmp_path.iterdir()) == []
