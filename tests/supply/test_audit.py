"""The audit of pins: what it tells, and that it never passes in silence."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.supply import audit
from tests.supply.audit import Allowed, NotReached

TODAY = date(2026, 11, 28)
PINS = [("one", "1.0"), ("two", "2.0"), ("three", "3.0")]
FLAW = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "aliases": ["CVE-2026-1"],
    "fix_versions": ["2.1"],
    "description": "Reads what it should not",
}


def service(flawed: str = "", unknown: tuple[str, ...] = ()) -> audit.Service:
    """A service that knows one flaw of one package, and not every package."""

    def answer(pins: list[audit.Pin]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for name, version in pins:
            if name in unknown:
                found.append({"name": name, "skip_reason": "not found"})
                continue
            flaws = [FLAW] if name == flawed else []
            found.append({"name": name, "version": version, "vulns": flaws})
        return {"dependencies": found, "fixes": []}

    return answer


def allow(**changes: Any) -> Allowed:
    entry = {
        "id": FLAW["id"],
        "package": "two",
        "reason": "the function is never called",
    }
    return Allowed(**(entry | {"until": date(2026, 12, 31)} | changes))


def problems(*allowed: Allowed, flawed: str = "two", today: date = TODAY) -> list[str]:
    return list(audit.audit(PINS, allowed, today, service(flawed)).problems)


def test_every_package_is_asked_for():
    asked: list[audit.Pin] = []

    def noted(pins: list[audit.Pin]) -> dict[str, Any]:
        asked.extend(pins)
        return service()(pins)

    wanted = audit.pins(audit.REQUIREMENTS)
    report = audit.audit(wanted, (), TODAY, noted)
    assert sorted(asked) == wanted and report.audited == len(wanted) > 100
    assert ("boto3", dict(wanted)["boto3"]) in wanted


def test_what_the_function_brings_is_what_the_tests_ran():
    every, function = (set(audit.pins([path])) for path in audit.REQUIREMENTS)
    assert function and function < every


def test_a_known_vulnerability_is_told_with_its_remedy():
    (line,) = problems()
    assert line == (
        "two 2.0: GHSA-aaaa-bbbb-cccc (mended in 2.1): Reads what it should not; "
        "raise the pin, or accept it in allowed.toml"
    )


@pytest.mark.parametrize("name", [FLAW["id"], "CVE-2026-1"])
def test_what_is_accepted_passes_until_its_end(name):
    assert problems(allow(id=name)) == []
    assert problems(allow(id=name), today=date(2026, 12, 31)) == []
    (line,) = problems(allow(id=name), today=date(2027, 1, 1))
    assert "accepted until 2026-12-31, which is over" in line


def test_an_entry_is_for_its_package_alone_and_goes_when_it_is_mended():
    lines = problems(allow(package="three"))
    assert len(lines) == 2 and "raise the pin" in lines[0]
    assert lines[1] == (
        "three: GHSA-aaaa-bbbb-cccc is not there any more; remove its entry"
    )
    (line,) = problems(allow(), flawed="")
    assert "remove its entry" in line


@pytest.mark.parametrize(
    "text",
    [
        'id = "GHSA-1"\npackage = "two"\nuntil = 2026-12-31',
        'id = "GHSA-1"\npackage = "two"\nreason = "no"\nuntil = 2026-12-31',
        'id = "GHSA-1"\npackage = "two"\nreason = "the function is never called"',
        'id = "GHSA-1"\npackage = "two"\nreason = "the function is never called"\n'
        "until = 2028-01-01",
        'id = "GHSA-1"\npackage = "two"\nreason = "the function is never called"\n'
        'until = 2026-12-31\nevery = "package"',
    ],
)
def test_an_entry_needs_a_reason_and_an_end(tmp_path, capsys, text):
    path = tmp_path / "allowed.toml"
    path.write_text(f"[[allowed]]\n{text}\n")
    with pytest.raises(ValueError, match="allowed.toml"):
        audit.read_allowed(path, TODAY)
    assert audit.main({}, service=service(), allowed=path, today=TODAY) == 2
    assert "allowed.toml" in capsys.readouterr().err


def test_the_entries_of_this_checkout_can_be_read():
    assert isinstance(audit.read_allowed(audit.ALLOWED, TODAY), tuple)


def first_of_ours() -> str:
    return audit.pins(audit.REQUIREMENTS)[0][0]


def refused(pins: list[audit.Pin]) -> dict[str, Any]:
    raise NotReached("connection refused")


@pytest.mark.parametrize("how", ["no answer", "no such page"])
def test_a_service_that_cannot_be_asked_is_told_loudly(capsys, how):
    absent = service(unknown=(first_of_ours(),))
    silent = refused if how == "no answer" else absent
    assert audit.main({}, service=silent, today=TODAY) == 0
    assert "NOT AUDITED: none of " in capsys.readouterr().err
    assert audit.main({"AUDIT": "required"}, service=silent, today=TODAY) == 1
    assert "NOT AUDITED: none of " in capsys.readouterr().err


def test_a_service_that_breaks_off_has_audited_nothing():
    """What was asked before says nothing about the rest."""

    def once(pins: list[audit.Pin]) -> dict[str, Any]:
        return service()(pins) if pins == PINS[:1] else refused(pins)

    with pytest.raises(NotReached):
        audit.audit(PINS, (), TODAY, once)


def test_a_package_that_the_service_does_not_know_is_named(capsys):
    partly = service(unknown=("boto3",))
    assert audit.main({}, service=partly, today=TODAY) == 0
    assert "NOT AUDITED: boto3; " in capsys.readouterr().err
    assert audit.main({"AUDIT": "required"}, service=partly, today=TODAY) == 1


def test_a_vulnerability_fails_whether_the_audit_is_required_or_not(capsys):
    flawed = service(flawed="boto3")
    for environment in ({}, {"AUDIT": "required"}):
        assert audit.main(environment, service=flawed, today=TODAY) == 1
        assert "boto3" in capsys.readouterr().err
    assert audit.main({"AUDIT": "required"}, service=service(), today=TODAY) == 0


def test_a_wish_that_is_none_is_an_error(capsys):
    """A slip of the pen must not switch the audit off."""
    assert audit.main({"AUDIT": "requierd"}, service=service(), today=TODAY) == 2
    assert "allowed: required, or not set" in capsys.readouterr().err


class _Osv(BaseHTTPRequestHandler):
    """Answers as OSV does: a flaw of `two`, nothing of others."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "2.1"}]}],
        }
        flaw = {
            "id": FLAW["id"],
            "aliases": FLAW["aliases"],
            "summary": FLAW["description"],
            "affected": [affected],
        }
        body = json.dumps({"vulns": [flaw]} if name == "two" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def osv() -> Iterator[str]:
    """The address of a service that speaks as OSV does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pip_audit_itself_is_understood(osv, tmp_path, monkeypatch):
    """The real program, asking a service that we play."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def asked(pins: list[audit.Pin]) -> dict[str, Any]:
        return audit.pip_audit(
            pins, ("--vulnerability-service", "osv", "--osv-url", osv)
        )

    report = audit.audit(PINS, (), TODAY, asked)
    assert report.audited == 3 and report.skipped == ()
    (line,) = report.problems
    # It names a flaw by its CVE where there is one, and the others as aliases.
    assert line.startswith("two 2.0: CVE-2026-1 (mended in 2.1): Reads")


def test_pip_audit_without_a_service_has_not_reached_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    nobody = (
        "--vulnerability-service",
        "osv",
        "--osv-url",
        "http://127.0.0.1:9/v1/query",
    )
    with pytest.raises(NotReached, match="refused"):
        audit.pip_audit(PINS[:1], nobody)


def test_pip_audit_that_was_called_wrongly_is_no_service_that_is_silent():
    with pytest.raises(RuntimeError, match="does not take its options"):
        audit.pip_audit(PINS[:1], ("--no-such-option",))


def test_make_check_runs_it():
    makefile = (audit.ROOT / "Makefile").read_text()
    recipe = makefile.partition("\ncheck:")[2].partition("\n\n")[0]
    assert f"\t$(BIN)/python -m {audit.__name__}\n" in recipe


def test_the_command_line_ends_with_the_outcome():
    done = subprocess.run(
        [sys.executable, "-m", audit.__name__],
        env={"AUDIT": "maybe", "PATH": ""},
        cwd=audit.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "allowed: required" in done.stderr
