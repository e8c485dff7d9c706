"""The deployed whole: the very program on real local parts, rows end to end."""

import warnings
from importlib import import_module

with warnings.catch_warnings():
    # pulumi_aws warns of its own deprecated classes while it defines them.
    warnings.simplefilter("ignore", DeprecationWarning)
    import_module("infra.program")
