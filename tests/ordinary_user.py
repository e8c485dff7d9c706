"""Running something as an ordinary user, from a test that root runs."""

import os

# A user id without name, home or rights.
NOBODY = 65534


def as_ordinary_user() -> tuple[str, ...]:
    """Return what to put before a command; nothing where we are ordinary ourselves.

    The user may read what root's checkout and interpreter hide in folders of root's;
    nothing else sets it apart.
    """
    if os.geteuid() != 0:
        return ()
    return (
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    )
