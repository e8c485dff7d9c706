"""Asks pip-audit for known vulnerabilities of every pinned package.

    python -m tests.supply.audit

`allowed.toml` holds what is accepted for a while, with a reason and an end. Where the
advisory service cannot be asked, nothing is audited: that is said loudly and passes,
unless AUDIT=required is set, as continuous integration does.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = tuple(ROOT / "requirements" / name for name in ("all.txt", "lambda.txt"))
ALLOWED = Path(__file__).with_name("allowed.toml")

# pip-audit asks for one package after the other; these ask side by side.
_SLICES = 8
_SOCKET_SECONDS = 10
_SLICE_SECONDS = 180
_LONGEST = datetime.timedelta(days=180)
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)

Pin = tuple[str, str]
# Takes pins and returns what pip-audit prints as JSON for them.
Service = Callable[[list[Pin]], dict[str, Any]]


class NotReached(Exception):
    """The advisory service does not answer."""


class Allowed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A known vulnerability that is accepted for a while.

    Attributes:
        id: Its name or one of its aliases, such as GHSA-… or CVE-….
        package: Name of the package, as it is pinned.
        reason: Why it does no harm here.
        until: Last day on which that holds.
    """

    id: Annotated[str, Meta(min_length=5)]
    package: Annotated[str, Meta(min_length=1)]
    reason: Annotated[str, Meta(min_length=20)]
    until: datetime.date


class Report(Struct, frozen=True, kw_only=True):
    """What an audit found.

    Attributes:
        audited: How many packages the service knew.
        problems: What must be mended.
        skipped: Packages that the service does not know.
    """

    audited: int
    problems: tuple[str, ...]
    skipped: tuple[str, ...]


def pins(paths: Iterable[Path]) -> list[Pin]:
    """Return the packages that requirements files pin, each once."""
    found = {pin for path in paths for pin in _PIN.findall(path.read_text())}
    return sorted(found)


def read_allowed(path: Path, today: datetime.date) -> tuple[Allowed, ...]:
    """Read the accepted vulnerabilities.

    Raises:
        ValueError: An entry has no reason, or no end within half a year.
    """
    try:
        entries = convert(
            tomllib.loads(path.read_text()).get("allowed", []), tuple[Allowed, ...]
        )
    except ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from error
    for entry in entries:
        if entry.until - today > _LONGEST:
            raise ValueError(f"{path.name}: {entry.id}: ends in more than half a year")
    return entries


def pip_audit(wanted: list[Pin], options: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run pip-audit over some pins.

    Args:
        wanted: The pins.
        options: More of its options, such as another service.

    Raises:
        NotReached: It could not ask.
        RuntimeError: It was called wrongly, which must not pass for that.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{name}=={version}\n" for name, version in wanted))
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(file)),
            *("--no-deps", "--disable-pip", "--progress-spinner", "off"),
            *("--format", "json", "--timeout", str(_SOCKET_SECONDS), *options),
        ]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_SLICE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotReached(f"no answer in {_SLICE_SECONDS} s") from error
    last = (done.stderr.strip().splitlines() or ["no output"])[-1][:300]
    if done.returncode == 2:
        raise RuntimeError(f"pip-audit does not take its options: {last}")
    # 1 stands for vulnerabilities and for failures alike; only the former come as JSON.
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise NotReached(last) from None
    return dict(found)


def audit(
    wanted: list[Pin],
    allowed: Iterable[Allowed],
    today: datetime.date,
    service: Service = pip_audit,
) -> Report:
    """Ask for all pins and judge the answers.

    Args:
        wanted: What to ask for, at least one pin.
        allowed: What is accepted.
        today: The day on which that is judged.
        service: Who is asked.

    Raises:
        NotReached: The service cannot be asked, or knows not even the first package.
    """
    first = service(wanted[:1])["dependencies"]
    if "skip_reason" in first[0]:
        raise NotReached(first[0]["skip_reason"])
    rest = wanted[1:]
    slices = [part for part in (rest[n::_SLICES] for n in range(_SLICES)) if part]
    with ThreadPoolExecutor(max_workers=_SLICES) as pool:
        answers = list(pool.map(service, slices))
    found = [*first, *(each for answer in answers for each in answer["dependencies"])]
    skipped = sorted(each["name"] for each in found if "skip_reason" in each)
    return Report(
        audited=len(found) - len(skipped),
        problems=tuple(_problems(found, tuple(allowed), today)),
        skipped=tuple(skipped),
    )


def _problems(
    found: list[dict[str, Any]], allowed: tuple[Allowed, ...], today: datetime.date
) -> Iterator[str]:
    unused = set(allowed)
    for package in found:
        for vulnerability in package.get("vulns", []):
            names = {vulnerability["id"], *vulnerability.get("aliases", [])}
            entries = [
                entry
                for entry in allowed
                if entry.id in names and entry.package == package["name"]
            ]
            unused -= set(entries)
            told = _told(package, vulnerability)
            if not entries:
                yield f"{told}; raise the pin, or accept it in {ALLOWED.name}"
            elif all(entry.until < today for entry in entries):
                yield f"{told}; accepted until {entries[0].until}, which is over"
    for entry in sorted(unused, key=lambda entry: entry.id):
        yield f"{entry.package}: {entry.id} is not there any more; remove its entry"


def _told(package: dict[str, Any], vulnerability: dict[str, Any]) -> str:
    mended = ", ".join(vulnerability["fix_versions"]) or "no release"
    return (
        f"{package['name']} {package['version']}: {vulnerability['id']} "
        f"(mended in {mended}): {vulnerability['description'][:100]}"
    )


def main(
    environment: Mapping[str, str],
    *,
    service: Service = pip_audit,
    allowed: Path = ALLOWED,
    today: datetime.date | None = None,
) -> int:
    """Audit, tell the outcome on stderr and return the exit code."""
    wish = environment.get("AUDIT", "")
    if wish not in ("", "required"):
        return _tell(2, f"AUDIT is {wish!r}; allowed: required, or not set")
    day = today or datetime.datetime.now(datetime.UTC).date()
    wanted = pins(REQUIREMENTS)
    try:
        report = audit(wanted, read_allowed(allowed, day), day, service)
    except ValueError as error:
        return _tell(2, str(error))
    except NotReached as error:
        return _unaudited(wish, f"none of {len(wanted)} packages ({error})")
    code = 1 if report.problems else 0
    _tell(code, f"{report.audited} of {len(wanted)} packages", *report.problems)
    if report.skipped:
        code = max(code, _unaudited(wish, ", ".join(report.skipped)))
    return code


def _unaudited(wish: str, what: str) -> int:
    if wish == "required":
        return _tell(1, f"NOT AUDITED: {what}; AUDIT=required makes that an error")
    return _tell(0, f"NOT AUDITED: {what}; AUDIT=required would fail here")


def _tell(code: int, *lines: str) -> int:
    for line in lines:
        print(f"==> audit for known vulnerabilities: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(os.environ))
