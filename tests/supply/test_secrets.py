"""The secret scan of `make check` finds what it is there for, and hides it."""

import random
import shlex
import shutil
import string
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).resolve().parents[2]
MARKER = "4dabf18193072939515e22adb298388d"


def command() -> list[str]:
    """The scan as the Makefile runs it."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("\t$(BIN)/gitleaks git ")]
    return shlex.split(line.strip().replace("$(BIN)", str(ROOT / ".venv" / "bin")))


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(
        ["git", *name, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with our rules and a harmless file."""
    git(tmp_path, "init", "--quiet")
    shutil.copy(ROOT / ".gitleaks.toml", tmp_path)
    (tmp_path / "plain.py").write_text('NAME = "aurora-sync-dev-exporter"\n')
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "start")
    return tmp_path


def scan(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(), cwd=folder, capture_output=True, text=True, timeout=60
    )


def aws_key() -> str:
    """An access key's form; made here, so that this file holds none."""
    letters = random.Random(7).choices(string.ascii_uppercase + "234567", k=16)
    return "AKIA" + "".join(letters)


def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def test_a_clean_history_passes(checkout):
    done = scan(checkout)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["aws-access-token", "private-key"])
@pytest.mark.parametrize("then", ["stays", "is removed again"])
def test_a_seeded_secret_is_found_and_not_repeated(checkout, kind, then):
    secret = aws_key() if kind == "aws-access-token" else private_key()
    seeded = checkout / "Pulumi.dev.yaml"
    seeded.write_text(f"config:\n  key: |\n    {secret}\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "seed")
    if then == "is removed again":
        # Whoever has the history has it still.
        git(checkout, "rm", "--quiet", seeded.name)
        git(checkout, "commit", "--quiet", "-m", "remove")
    done = scan(checkout)
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert secret.splitlines()[-2 if "\n" in secret else 0] not in told


def test_what_the_rules_let_pass_is_one_public_marker(checkout):
    text = (ROOT / ".gitleaks.toml").read_text()
    assert "useDefault = true" in text and text.count("regexes = ") == 1
    assert f'regexes = ["{MARKER}"]' in text
    assert "paths" not in text and "stopwords" not in text


def test_the_hook_scans_what_is_staged(checkout):
    config = (ROOT / ".pre-commit-config.yaml").read_text()
    assert "gitleaks git --pre-commit --staged" in config
    (checkout / "key.txt").write_text(aws_key() + "\n")
    git(checkout, "add", ".")
    staged = [*command()[:-1], "--pre-commit", "--staged"]
    done = subprocess.run(staged, cwd=checkout, capture_output=True, timeout=60)
    assert done.returncode == 1
