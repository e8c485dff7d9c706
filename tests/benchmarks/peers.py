"""The same table by dlt, Sling and ingestr: full loads and merges into DuckDB."""

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as parquet

from infra.bundle import ROOT
from infra.local import aws
from infra.local.parts import AWS_REGION
from tests.benchmarks import memory
from tests.benchmarks.ground import CHECK, Ground

_PINS = Path(__file__).with_name("peers.txt")
_HOME = ROOT / "build" / "bench-peers"
_BUCKET = "bench-peers"
_LOAD_SECONDS = 300


class PeerError(Exception):
    """A peer cannot be installed or run, or its copy is wrong."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A tool that copies a table incrementally.

    Attributes:
        name: Its name in `peers.txt`.
        command: Gives its command line and environment for a ground and a folder.
    """

    name: str
    command: Callable[[Ground, Path], tuple[list[str], dict[str, str]]]

    def install(self) -> None:
        """Install the pinned packages, once per set of pins.

        Raises:
            PeerError: They are not to be had.
        """
        lines = (line.partition(": ") for line in _PINS.read_text().splitlines())
        pins = {name: wanted for name, _, wanted in lines if not name.startswith("#")}
        home, stamp = _HOME / self.name, _HOME / self.name / "pins"
        if stamp.exists() and stamp.read_text() == pins[self.name]:
            return
        shutil.rmtree(home, ignore_errors=True)
        self._run([sys.executable, "-m", "venv", str(home)])
        pip = [str(home / "bin" / "pip"), "install", "-q"]
        self._run([*pip, *pins[self.name].split()], 600)
        stamp.write_text(pins[self.name])

    def _run(self, command: list[str], seconds: int = 60) -> None:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerError(str(error)) from error
        if done.returncode:
            lines = done.stderr.splitlines()
            raise PeerError(" ".join(line for line in lines if "ERROR" in line))

    def load(self, ground: Ground, folder: Path) -> tuple[float, int]:
        """Load what is new into `folder/copy.duckdb`; return seconds and peak bytes.

        Raises:
            PeerError: It fails, or its copy is not the table.
        """
        took = self._load(*self.command(ground, folder), folder)
        with duckdb.connect(str(folder / "copy.duckdb"), read_only=True) as copy:
            found = copy.execute(f"SELECT {CHECK} FROM main.synced").fetchone()
        if found != ground.truth():
            raise PeerError(f"copy shows {found}, the table {ground.truth()}")
        return took

    def _load(
        self, command: list[str], environment: dict[str, str], folder: Path
    ) -> tuple[float, int]:
        own = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("w") as log:
            begun = time.monotonic()
            process = subprocess.Popen(
                command, env=own | environment, cwd=folder, stdout=log, stderr=log
            )
            try:
                with memory.peak(memory.family, process.pid) as peak:
                    code = process.wait(_LOAD_SECONDS)
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.wait()
                raise PeerError(f"not done after {_LOAD_SECONDS} s") from error
        seconds = time.monotonic() - begun
        if code:
            raise PeerError((folder / "log").read_text()[-600:])
        return seconds, peak[0]


def _dsn(ground: Ground) -> str:
    return ground.dsn.partition("?")[0]


def _dlt_command(
    ground: Ground, folder: Path, destination: str
) -> tuple[list[str], dict[str, str]]:
    python = str(_HOME / "dlt" / "bin" / "python")
    script = str(Path(__file__).with_name("peer_dlt.py"))
    dsn = _dsn(ground).replace("postgresql:", "postgresql+psycopg2:")
    words = [python, script, str(folder / "state"), dsn, "public.synced", destination]
    return words, {"RUNTIME__DLTHUB_TELEMETRY": "false"}


def _dlt(ground: Ground, folder: Path) -> tuple[list[str], dict[str, str]]:
    return _dlt_command(ground, folder, str(folder / "copy.duckdb"))


def _sling(ground: Ground, folder: Path) -> tuple[list[str], dict[str, str]]:
    [packages] = (_HOME / "sling" / "lib").glob("python3*/site-packages")
    # Where DuckDB looks for extensions before it fetches them.
    for found in packages.glob("duckdb_extension_*/extensions/*/*.duckdb_extension"):
        own = folder / ".duckdb/extensions" / found.parent.name / "linux_amd64"
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, own)
    words = [str(packages / "sling_linux_amd64/bin/sling-linux-amd64"), "run"]
    words += ["--src-conn", "SOURCE", "--src-stream", "public.synced"]
    words += ["--tgt-conn", "COPY", "--tgt-object", "main.synced"]
    words += ["--mode", "incremental", "--primary-key", "id"]
    return [*words, "--update-key", "updated_at"], {
        "SOURCE": f"{_dsn(ground)}?sslmode=disable",
        "COPY": f"duckdb://{folder / 'copy.duckdb'}",
        "DUCKDB_PATH": str(packages / "duckdb_cli" / "duckdb"),
        "SLING_HOME_DIR": str(folder / "home"),
        "SLING_DISABLE_TELEMETRY": "TRUE",
    }


def _ingestr(ground: Ground, folder: Path) -> tuple[list[str], dict[str, str]]:
    words = [str(_HOME / "ingestr" / "bin" / "ingestr"), "ingest", "--yes"]
    words += ["--source-uri", _dsn(ground), "--source-table", "public.synced"]
    words += ["--dest-uri", f"duckdb:///{folder / 'copy.duckdb'}"]
    words += ["--dest-table", "main.synced", "--incremental-strategy", "merge"]
    words += ["--primary-key", "id", "--incremental-key", "updated_at"]
    # Its own default backend: with ConnectorX its incremental query cannot be rendered.
    return [*words, "--progress", "log"], {
        "INGESTR_DISABLE_TELEMETRY": "true",
        "TELEMETRY_OPTOUT": "1",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


PEERS = (
    Peer(name="dlt", command=_dlt),
    Peer(name="sling", command=_sling),
    Peer(name="ingestr", command=_ingestr),
)


def dlt_to_s3(ground: Ground, folder: Path) -> float:
    """Load all rows as Parquet into a bucket of their own; return the seconds.

    Raises:
        PeerError: It fails, or the files do not hold the table.
    """
    s3: Any = aws.client(ground.parts, "s3")
    s3.create_bucket(
        Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": AWS_REGION}
    )
    own = ground.parts.fact("aws_keys")["admin"]
    prefix = "DESTINATION__FILESYSTEM__CREDENTIALS__"
    s3_peer = Peer(
        name="dlt", command=partial(_dlt_command, destination=f"s3://{_BUCKET}")
    )
    words, environment = s3_peer.command(ground, folder)
    environment |= {
        f"{prefix}AWS_ACCESS_KEY_ID": own["access_key_id"],
        f"{prefix}AWS_SECRET_ACCESS_KEY": own["secret_access_key"],
        f"{prefix}ENDPOINT_URL": ground.parts.url("aws"),
        f"{prefix}REGION_NAME": AWS_REGION,
    }
    seconds, _ = s3_peer._load(words, environment, folder)
    rows = total = 0
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET)
    for item in (item for page in pages for item in page.get("Contents", [])):
        if item["Key"].startswith("main/synced/"):
            body = s3.get_object(Bucket=_BUCKET, Key=item["Key"])["Body"].read()
            found = parquet.read_table(io.BytesIO(body), columns=["total"])
            rows += found.num_rows
            total += sum(found["total"].to_pylist())
    if (rows, total) != (ground.truth()[0], ground.truth()[2]):
        raise PeerError(f"files hold {rows} rows with a total of {total}")
    return seconds
