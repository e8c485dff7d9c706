"""How a target that stayed in Snowflake is taken over on a stack in the cloud."""

import re
from pathlib import Path

from infra.cli.adopt import commands

GUIDE = Path(__file__).parents[2] / "docs" / "DEPLOYMENT.md"


def test_the_commands_are_those_of_the_guide():
    guide = GUIDE.read_text().partition("### A table comes back")[2]
    [block, *_] = re.findall(r"```sh needs-account\n(.*?)```", guide, re.DOTALL)
    assert block.splitlines()[1:] == list(commands(["public.orders"], "dev"))


def test_several_tables_and_odd_names_are_told_as_a_shell_reads_them():
    first, second, *_ = commands(["a.b", "a.it's"], "dev")
    assert first == ("pulumi config set --path 'aurora-sync:adopt[0]' a.b --stack dev")
    assert "adopt[1]" in second and """'a.it'"'"'s'""" in second
