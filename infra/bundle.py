"""Builds the Lambda function's zip, outside the Pulumi program.

An allowlist: exporter and checker, the contract, the configuration they read, and the
wheels that requirements/lambda.txt pins by hash. The same inputs give the same bytes,
on any machine, so that an unchanged tree is no change of the functions: entries are
sorted, their times and modes fixed, and nothing is compressed (compressors differ).

    python -m infra.bundle [--config FILE] [--output FILE] [--python V] [--platform P]
"""

import argparse
import hashlib
import json
import os
import platform as this_platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.contract.errors import ConfigError
from runtime.contract.loader import contract_path, load_tables

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements" / "lambda.txt"
PYTHON = "3.13"
PLATFORM = "manylinux2014_x86_64"
OUTPUT = ROOT / "build" / "exporter.zip"
CONFIG = ROOT / "config" / "sync_config.json"

# AWS services whose descriptions botocore needs; the others are nine tenths of it.
SERVICES = frozenset({"dynamodb", "kms", "s3", "sqs", "sts"})
_TARGET_FILE = "bundle.json"
_PIP_SECONDS = 600
# The earliest time a zip can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a bundle runs on.

    Attributes:
        python: Version such as 3.13.
        machine: x86_64 or arm64, as Lambda names architectures.
    """

    python: str
    machine: str


def build(
    config: Path,
    output: Path,
    *,
    python: str = PYTHON,
    platform: str | None = PLATFORM,
) -> Path:
    """Build the zip.

    Args:
        config: The `sync_config.json` to deploy; contracts and certificates stand
            beside it.
        output: The zip to write; replaced at once when complete.
        python: Version of the Lambda runtime.
        platform: Platform tag of the wheels; None for the machine we run on.

    Returns:
        The zip.

    Raises:
        ConfigError: When the configuration is wrong or the packages are not to be had.
    """
    target = Target(python=python, machine=_machine(platform))
    files = project_files(config)
    files[_TARGET_FILE] = json.dumps(asdict(target), sort_keys=True).encode()
    packages = _packages(python, platform)
    for path in sorted(packages.rglob("*")):
        name = path.relative_to(packages)
        if path.is_file() and _is_wanted(name):
            files[name.as_posix()] = path.read_bytes()
    return write(files, output)


def project_files(config: Path) -> dict[str, bytes]:
    """Return our own files by their name in the zip.

    Raises:
        ConfigErrors: When the configuration is wrong.
    """
    paths = {"runtime/__init__.py": ROOT / "runtime" / "__init__.py"}
    for package in ("checker", "contract", "exporter"):
        for path in (ROOT / "runtime" / package).rglob("*.py"):
            paths[path.relative_to(ROOT).as_posix()] = path
    paths["config/sync_config.json"] = config
    for table in load_tables(config):
        contract = contract_path(config, table.spec.source)
        paths[f"config/contracts/{contract.name}"] = contract
    for certificate in (config.parent / "certs").glob("*.pem"):
        paths[f"config/certs/{certificate.name}"] = certificate
    return {name: path.read_bytes() for name, path in paths.items()}


def write(files: dict[str, bytes], output: Path) -> Path:
    """Write a zip whose bytes depend on names and contents alone."""
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.create_system = 3  # Unix, wherever it is built
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, files[name])
        draft.replace(output)
    finally:
        # There is one only if the disk is full.
        draft.unlink(missing_ok=True)
    return output


def check(
    bundle: Path, config: Path, target: Target, *, needed: tuple[str, ...] = ()
) -> None:
    """Refuse a zip that is missing, stale, or built for something else.

    Args:
        bundle: The zip.
        config: The configuration that is being deployed.
        target: What the function will run on.
        needed: Names that settings speak of; empty ones do not count.

    Raises:
        ConfigError: With what to do.
    """
    remedy = "run make bundle"
    if not bundle.exists():
        raise ConfigError("bundle is missing", subject=str(bundle), remedy=remedy)
    try:
        with zipfile.ZipFile(bundle) as archive:
            found = json.loads(archive.read(_TARGET_FILE))
            names = set(archive.namelist())
            stale = sorted(
                name
                for name, content in project_files(config).items()
                if name not in names or archive.read(name) != content
            )
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"bundle cannot be read ({error})", subject=str(bundle), remedy=remedy
        ) from error
    if found != asdict(target):
        raise ConfigError(
            "bundle was built for another runtime",
            subject=str(bundle),
            got=found,
            allowed=str(asdict(target)),
            remedy="build it with --python and --platform, or change the settings",
        )
    if stale:
        raise ConfigError(
            "bundle is older than the files it was built from",
            subject=str(bundle),
            got=", ".join(stale[:3]),
            remedy=remedy,
        )
    for name in needed:
        if name and name not in names:
            raise ConfigError(
                "bundle lacks a file that the settings name",
                subject=str(bundle),
                got=name,
                remedy="put it into the folder certs beside the config, then " + remedy,
            )


def _machine(platform: str | None) -> str:
    tag = platform or this_platform.machine()
    return "arm64" if tag.endswith(("aarch64", "arm64")) else "x86_64"


def _packages(python: str, platform: str | None) -> Path:
    """Return a folder with the pinned packages; installed once per set of pins."""
    pins = REQUIREMENTS.read_bytes()
    digest = hashlib.sha256(pins + f"{python} {platform}".encode()).hexdigest()[:16]
    folder = ROOT / "build" / f"packages-{digest}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        try:
            _install(draft, python, platform)
            draft.rename(folder)
        except OSError:
            # Another build was faster.
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _install(folder: Path, python: str, platform: str | None) -> None:
    foreign = ["--python-version", python, "--implementation", "cp"]
    command = [
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check"),
        *("--quiet", "--no-compile", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--target", str(folder)),
        *(["--platform", platform, *foreign] if platform else []),
        *("--requirement", str(REQUIREMENTS)),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
    )
    if done.returncode != 0:
        lines = list(_errors(done.stderr)) or [f"exit code {done.returncode}"]
        raise ConfigError(
            f"packages of the function cannot be installed ({lines[0]})",
            subject=str(REQUIREMENTS.relative_to(ROOT)),
            got=f"Python {python}, {platform or 'this machine'}",
            remedy="check the package index and the platform, or run make lock",
        )


def _errors(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("ERROR:"):
            yield line.removeprefix("ERROR:").strip()


def _is_wanted(name: Path) -> bool:
    """Leave out what does not run, and what two installations write differently."""
    top, *rest = name.parts
    if top == "bin" or "tests" in rest or "__pycache__" in rest:
        return False
    if top.endswith(".dist-info"):
        # Packages ask for their version; licences travel with the code.
        return rest[0] in ("METADATA", "licenses")
    if name.suffix == ".pyi" or name.name == "py.typed":
        return False
    if top in ("botocore", "boto3") and rest[0] == "data" and len(rest) > 2:
        return rest[1] in SERVICES
    return True


def main() -> None:
    """Build by the command line's wishes and say what was built."""
    parser = argparse.ArgumentParser(prog="python -m infra.bundle")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--python", default=PYTHON)
    parser.add_argument("--platform", default=PLATFORM)
    wanted = parser.parse_args()
    try:
        bundle = build(
            wanted.config,
            wanted.output,
            python=wanted.python,
            platform=wanted.platform,
        )
    except ConfigError as error:
        sys.exit(str(error))
    size = bundle.stat().st_size / 1e6
    print(f"{bundle}: {size:.1f} MB for Python {wanted.python}, {wanted.platform}")


if __name__ == "__main__":
    main()
