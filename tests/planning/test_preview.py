"""Pulumi's own preview, where its command line is at hand."""

import json
from pathlib import Path

import pytest

from infra.planning import preview as module
from infra.planning.preview import preview
from infra.planning.resources import PreviewError


def pulumi(folder: Path, script: str) -> None:
    """Put a command line of that name on the path."""
    command = folder / "pulumi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_without_the_command_line_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert preview("dev") is None


def test_the_stack_is_previewed_and_nobody_is_asked(path):
    steps = {"steps": [{"op": "create", "urn": "urn:pulumi:dev::p::a:b:C::one"}]}
    pulumi(path, f"echo \"$@\" > {path}/said; echo '{json.dumps(steps)}'")
    [change] = preview("dev") or ()
    assert (change.action, change.name) == ("create", "one")
    said = (path / "said").read_text().split()
    assert said == ["preview", "--json", "--non-interactive", "--stack", "dev"]


def test_a_preview_that_fails_says_why(path):
    pulumi(path, "echo no stack named dev >&2; exit 255")
    with pytest.raises(PreviewError, match="no stack named dev"):
        preview("dev")


def test_a_preview_without_end_is_given_up(path, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0.1)
    pulumi(path, "exec sleep 5")
    with pytest.raises(PreviewError, match="no end"):
        preview("dev")
