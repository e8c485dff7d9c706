"""The command line without any stack: help, usage, errors, exit statuses."""

import json
import os
import subprocess
import sys

import pytest

from infra.cli import guard
from infra.cli.guard import guarded
from runtime.contract.errors import ConfigError, ConfigErrors, WarehouseError
from tests.cli.conftest import SCRIPT, aurora_sync, process

COMMANDS = {"local", "contract", "table", "sync", "status", "verify"}
TOO_HEAVY = "boto3 botocore psycopg2 pulumi snowflake duckdb fakesnow hvac"


def test_help_shows_the_commands():
    text = aurora_sync("--help").stdout
    assert all(f"│ {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", ["backfill", "repair", "plan"])
def test_commands_that_are_not_built_are_not_offered(command):
    assert aurora_sync(command).exit_code == 2


def test_help_comes_at_once():
    """Nothing heavy is loaded before a command needs it."""
    code = (
        "import sys, infra.cli; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(loaded.stdout.split()) & set(TOO_HEAVY.split()) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("local",),
        ("contract",),
        ("table",),
        ("sync", "--timeout", "0"),
        ("sync", "--timeout", "soon"),
        ("status", "--nonsense"),
        ("local", "sql", "oracle", "SELECT 1"),
        ("local", "sql", "aurora"),
        ("table", "add", "public.t"),
        ("table", "add", "public.t", "--key", "id"),
    ],
)
def test_wrong_usage_is_status_2(arguments):
    assert aurora_sync(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("sync",),
        ("status",),
        ("verify", "--json"),
        ("contract", "refresh"),
        ("table", "add", "public.t", "--key", "id", "--watermark", "at"),
    ],
)
def test_without_a_stack_the_way_to_one_is_told(arguments, tmp_path):
    result = aurora_sync(*arguments, "--dir", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "no local stack is up" in line and "aurora-sync local up" in line


def test_a_folder_belongs_to_local_stacks_only(tmp_path):
    result = aurora_sync("status", "--stack", "dev", "--dir", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is for local stacks only" in result.stderr


def test_a_cloud_stack_without_credentials_says_what_it_needs(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    result = aurora_sync("sync", "--stack", "dev")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "function aurora-sync-dev-exporter of stack dev" in line
    assert "AWS_PROFILE" in line


def test_a_cloud_stack_without_a_region_is_wrong_configuration():
    result = aurora_sync("sync", "--stack", "dev")
    assert result.exit_code == 2
    assert "set AWS_REGION" in result.stderr


def test_local_status_of_nothing_is_a_problem(tmp_path):
    result = aurora_sync("local", "status", "--json", "--dir", tmp_path)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"] == "down"


def test_local_down_of_nothing_is_done(tmp_path):
    result = aurora_sync("local", "down", "--dir", tmp_path / "none")
    assert (result.exit_code, "there was no stack" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    "arguments", [("local", "sql", "aurora", "SELECT 1"), ("local", "deploy")]
)
def test_local_commands_on_nothing_are_problems(arguments, tmp_path):
    result = aurora_sync(*arguments, "--dir", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the local stack does not run" in result.stderr


def test_a_config_that_is_not_there_is_told_before_anything_starts(tmp_path):
    config, folder = tmp_path / "none.json", tmp_path / "stack"
    result = aurora_sync("local", "up", "--config", config, "--dir", folder)
    assert result.exit_code == 2
    assert "file not found" in result.stderr
    states = json.loads(
        aurora_sync("local", "status", "--dir", folder, "--json").stdout
    )
    assert set(states["parts"].values()) <= {"dead"}


class TestErrors:
    """Every error is a line on stderr, never a stack trace."""

    @pytest.mark.parametrize(
        ("error", "status", "lines"),
        [
            (WarehouseError("refuses", subject="Snowflake"), 1, ["Snowflake: refuses"]),
            (WarehouseError("syntax\n\nLINE 1"), 1, ["syntax LINE 1"]),
            (ConfigError("is wrong", got=1), 2, ["is wrong; got 1"]),
            (
                ConfigErrors([ConfigError("one"), ConfigError("two")]),
                2,
                ["one", "two"],
            ),
            (
                KeyboardInterrupt(),
                130,
                ["interrupted; what was begun goes on by itself"],
            ),
            (
                ZeroDivisionError("division\nby zero"),
                1,
                [
                    "ZeroDivisionError: division by zero (a mistake in this program; "
                    "AURORA_SYNC_DEBUG=1 shows where)"
                ],
            ),
        ],
    )
    def test_it_is_told_and_counted(self, error, status, lines, monkeypatch):
        def broken(*arguments, **options):
            raise error

        monkeypatch.setattr("infra.cli.target.resolve", broken)
        result = aurora_sync("status", "--json")
        assert (result.exit_code, result.stdout) == (status, "")
        assert result.stderr.splitlines() == lines

    def test_a_developer_may_see_where(self, monkeypatch):
        @guarded
        def broken() -> None:
            raise ZeroDivisionError

        monkeypatch.setenv(guard.DEBUG, "1")
        with pytest.raises(ZeroDivisionError):
            broken()


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """As in `aurora-sync local status | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [SCRIPT, "local", "status", "--dir", str(tmp_path)],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_installed_script_runs():
    done = process("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "aurora-sync" in done.stdout


def test_an_interruption_within_a_destructor_is_not_lost() -> None:
    """Python prints it and goes on: Ctrl-C would have ended nothing."""
    program = """
import time, types, sys, infra.cli

class Cleaned:
    def __del__(self):
        raise KeyboardInterrupt

def app(prog_name):
    Cleaned()
    for _ in range(100):
        time.sleep(0.1)

sys.modules["infra.cli.app"] = types.SimpleNamespace(app=app)
infra.cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; what was begun goes on by itself\n"
