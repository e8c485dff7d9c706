"""Writing files so that a reader never sees half of a change."""

import os
from collections.abc import Mapping
from pathlib import Path

from runtime.contract.errors import ConfigError


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
