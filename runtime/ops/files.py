"""Writing files so that a reader never sees half of a change."""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from runtime.contract.errors import ConfigError

_SECONDS = 60.0


@contextmanager
def exclusive(config: Path) -> Iterator[None]:
    """Hold a config and its contracts against other commands that change them.

    Raises:
        ConfigError: When another command holds them for long.
    """
    folder = config.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _SECONDS
    # The folder itself: nothing is left behind, whatever ends us.
    handle = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        "is being changed by another command",
                        subject=str(config),
                        remedy="wait until it has ended",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write files, all or nothing; each is replaced in one step, in the given order.

    Args:
        files: Content by path; a link keeps pointing where it points.

    Raises:
        ConfigError: When a file cannot be written; none has been changed then,
            unless the disk fails between two renames.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            final = path.resolve()
            final.parent.mkdir(parents=True, exist_ok=True)
            draft = final.with_name(f".{final.name}.new")
            drafts[draft] = final
            with draft.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            if final.exists():
                draft.chmod(final.stat().st_mode & 0o777)
        for draft, final in drafts.items():
            draft.replace(final)
    except OSError as error:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot be written ({error.strerror})",
            subject=str(error.filename),
            remedy="check the folder's rights and free space",
        ) from error
