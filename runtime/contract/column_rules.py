"""What contradicts a column's mask, its rule for misfits, or its other name."""

from collections.abc import Iterator

from runtime.contract.columns import Column
from runtime.contract.errors import ConfigError
from runtime.contract.masks import fits
from runtime.contract.specs import TableContract, TableSpec
from runtime.contract.type_map import rule_for


def treatment_problems(
    column: Column, spec: TableSpec, subject: str
) -> Iterator[ConfigError]:
    """Say what is wrong with what the config does to a column.

    Args:
        column: The column, as the contract has it.
        spec: The config entry.
        subject: File and table, for the messages.
    """
    wanted = wishes(column.name, spec)
    frozen = {key: getattr(column, key) for key in wanted}
    if frozen != wanted:
        yield ConfigError(
            f"column {column.name!r} is frozen with another mask, rename or misfits",
            subject=subject,
            got=_shown(wanted),
            allowed=_shown(frozen),
            remedy=f"run `aurora-sync contract refresh {spec.table_name}`",
        )
        return
    try:
        fitting = rule_for(column).misfit is None
    except ConfigError:
        return  # told by whoever asks for the type's rule
    needed = {*spec.needed, spec.deleted_col}
    if column.mask is not None:
        yield from _mask_problems(column, column.mask, needed, subject)
    if column.misfit != "fail" and fitting:
        yield ConfigError(
            f"misfits names column {column.name!r}, whose every value fits",
            subject=subject,
            got=column.type,
            remedy="take it out of misfits",
        )
    elif column.misfit != "fail" and column.name in {*spec.key, spec.deleted_col}:
        yield ConfigError(
            f"misfits names column {column.name!r}, which says what row it is or "
            "whether it lives",
            subject=subject,
            got=column.misfit,
            allowed="fail",
            remedy="take it out of misfits",
        )


def unknown_names(
    contract: TableContract, spec: TableSpec, subject: str
) -> Iterator[ConfigError]:
    """Say which names stand for no column; a misspelt mask would leave one clear.

    A column that has become another waits for a refresh with its name in the contract.
    """
    known = [column.name for column in contract.columns]
    for key in ("rename", "masks", "misfits"):
        for name in getattr(spec, key):
            if name not in known:
                yield ConfigError(
                    f"{key} names a column the contract does not have",
                    subject=subject,
                    got=name,
                    allowed=", ".join(known),
                    remedy=f"correct {key} in the config, or run "
                    f"`aurora-sync contract refresh {spec.table_name}`",
                )


def wishes(name: str, spec: TableSpec) -> dict[str, str | None]:
    """Return what an entry wants of a column, by the contract's names for it."""
    return {
        "rename": spec.rename.get(name),
        "mask": spec.masks.get(name),
        "misfit": spec.misfits.get(name, "fail"),
    }


def _mask_problems(
    column: Column, mask: str, needed: set[str | None], subject: str
) -> Iterator[ConfigError]:
    if column.name in needed:
        yield ConfigError(
            f"masks names column {column.name!r}, by which rows are found or selected",
            subject=subject,
            got=mask,
            allowed="any column but primary_key, watermark_col and deleted_col",
            remedy="choose another unique key, or leave the column clear",
        )
    if not fits(mask, column):
        yield ConfigError(
            f"column {column.name!r} cannot be masked so",
            subject=subject,
            got=f"{mask} of {column.type}",
            allowed="hash, redact or null; truncate of texts (with or without a "
            "number), dates and timestamps (without)",
            remedy="choose another mask",
        )


def _shown(wanted: dict[str, str | None]) -> str:
    return ", ".join(f"{key} {value or 'none'}" for key, value in wanted.items())
