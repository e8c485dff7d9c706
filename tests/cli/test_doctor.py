"""How findings read to people."""

from infra.cli.doctor import show
from runtime.ops.findings import Finding

FINDINGS = (
    Finding(part="source", check="server", severity="ok", subject="Aurora", fact="14"),
    Finding(
        part="tables",
        check="updates",
        severity="note",
        subject="a.[b]",
        fact="long " * 60,
        remedy=("mend it",),
    ),
    Finding(
        part="tables",
        check="grants",
        severity="error",
        subject="a.[b]",
        fact="may not read it",
        remedy=("GRANT " + "x" * 300, "GRANT y"),
        where="aurora",
    ),
    Finding(
        part="stack",
        check="schedule",
        severity="error",
        subject="a.[b]",
        fact="is DISABLED",
        remedy=("pulumi up",),
        where="shell",
    ),
)


def test_the_worst_comes_first_and_what_is_well_is_counted(capsys):
    show(FINDINGS)
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line and line[0] != " "] == [
        "Aurora 1 ok",
        "Tables 1 error, 1 note",
        "Stack 1 error",
        "Snowflake not examined",
        "2 errors, 1 note, 1 ok",
    ]
    assert text.index("  error    a.[b]  grants") < text.index("  note     a.[b]  up")
    assert "  Aurora: 14\n" in text and "           → mend it\n" in text


def test_what_is_to_be_run_is_never_broken_into_lines(capsys):
    show(FINDINGS)
    lines = capsys.readouterr().out.splitlines()
    assert f"           aurora> GRANT {'x' * 300};" in lines
    assert "           aurora> GRANT y;" in lines
    assert "           $ pulumi up" in lines
    assert not any(line != line.rstrip() for line in lines)
