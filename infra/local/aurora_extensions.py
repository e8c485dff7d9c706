"""Makes aws_s3 an extension that `CREATE EXTENSION` finds, as Aurora has it.

Its functions come with the part itself (aurora_s3.sql), so that the extension is a
name alone: an administrator's statements run here as they run on Aurora.
"""

from pathlib import Path

from infra.local.parts import LocalError

_NEEDS = {"aws_commons": "", "aws_s3": "requires = 'aws_commons'\n"}
_VERSION = "1.2"


def make_extensions(folder: Path) -> str:
    """Write the control files; return the server's setting that names them.

    Args:
        folder: A folder that the server's account can enter.

    Returns:
        The value of `extension_control_path`, which PostgreSQL has since version 18.
        Source: https://www.postgresql.org/docs/18/runtime-config-client.html

    Raises:
        LocalError: The folder's path cannot stand in that setting.
    """
    if ":" in str(folder):
        raise LocalError(
            "folder's path has a colon, by which PostgreSQL separates folders",
            subject=str(folder),
            allowed="a path without a colon",
            remedy="name another folder with --dir",
        )
    place = folder / "extensions" / "extension"
    place.mkdir(parents=True, exist_ok=True)
    for name, needs in _NEEDS.items():
        control = f"default_version = '{_VERSION}'\nschema = {name}\n{needs}"
        (place / f"{name}.control").write_text(control)
        (place / f"{name}--{_VERSION}.sql").write_text("")
    for path in (place.parent, place, *place.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return f"$system:{place.parent}"
