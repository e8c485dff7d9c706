"""Tests of the command line."""

import importlib
import warnings

with warnings.catch_warnings():
    # pulumi_aws warns of its own deprecated classes while it defines them.
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("infra.program")
