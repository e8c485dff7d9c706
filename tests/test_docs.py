"""What pages point at is there: links, headings, files, commands and their options."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from infra.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tests/**/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.S | re.M)
# Names of the checkout's folders, so that `a/b` is taken for a path.
FOLDERS = ("config", "docs", "infra", "requirements", "runtime", "tests")
# Paths that pages tell people to make, or that depend on a name.
MADE = re.compile(r"config/certs/|config/contracts/|.*(<|NNNN|NAME|…|\*)")
pages = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


@cache
def headings(page: Path) -> frozenset[str]:
    """Return the anchors of a page, as GitHub makes them."""
    text = FENCE.sub("", page.read_text())
    plain = (re.sub(r"[`*]", "", each) for each in re.findall(r"^#+ (.*)$", text, re.M))
    return frozenset(
        re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in plain
    )


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


@pages
def test_every_link_within_the_repository_leads_somewhere(page):
    lost = []
    for link in LINK.findall(prose(page)):
        place, _, anchor = link.partition("#")
        if re.match(r"https?:|mailto:", place):
            continue
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or not target.is_relative_to(ROOT):
            lost.append(link)
        elif anchor and anchor not in headings(target):
            lost.append(link)
    assert lost == []


@pages
def test_every_path_that_a_page_names_is_there(page):
    named = {
        word.rstrip("/")
        for code in CODE.findall(prose(page))
        for word in code.split()
        if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]+", word)
    }
    # The history may speak of what has gone.
    if page.name != "CHANGELOG.md":
        missing = {path for path in named if not (ROOT / path).exists()}
        assert sorted(path for path in missing if not MADE.match(path)) == []


# --- how a page is read

PROGRAMS = "aurora-sync|openssl|vault|aws|pulumi|psql|make|curl|git|snow|python"
COMMAND = re.compile(rf"(\$ |\.venv/bin/)?({PROGRAMS}) [^|]+")
HEADING = re.compile(r"#+ ")


def oddities(text: str) -> Iterator[str]:
    """Yield each line that does not show as it was meant."""
    if len(re.findall("^```", text, re.M)) % 2:
        yield "a fence does not end"
    # What stands within a block is of no matter here.
    lines = FENCE.sub("```\n", text).splitlines()
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        table = line.startswith("|") and not before.startswith("|")
        block = table or HEADING.match(line) or line.startswith("```")
        if block and before and not before.startswith("<!--"):
            yield f"no empty line before: {line}"
        if HEADING.match(line) and after:
            yield f"no empty line after: {line}"
        if table and not re.fullmatch(r"[|: -]+", after):
            yield f"no table: {line}"
        if COMMAND.fullmatch(line):
            yield f"no block: {line}"


@pages
def test_a_page_shows_as_it_was_meant(page):
    assert list(oddities(page.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "One.\n## Two\n\nThree.\n",
        "## One\nTwo.\n",
        "One.\n| A | B |\n| --- | --- |\n",
        "| A | B |\n| 1 | 2 |\n",
        "One:\n```sh\nmake\n```\n",
        "```sh\nmake\n",
        "One:\naurora-sync sync public.orders --wait\n",
        "vault write -f database/rotate-root/aurora\n",
    ],
)
def test_what_a_merge_spoils_is_noticed(text):
    assert list(oddities(text))


# --- commands


@cache
def commands() -> dict[tuple[str, ...], frozenset[str]]:
    """Return the options of each command and group, by its words."""

    def within(command: object, path: tuple[str, ...]) -> Iterator[tuple]:
        options = {
            word
            for param in getattr(command, "params", ())
            for word in (*param.opts, *param.secondary_opts)
            if word.startswith("--")
        }
        yield path, frozenset(options | {"--help"})
        for name, each in getattr(command, "commands", {}).items():
            yield from within(each, (*path, name))

    return dict(within(typer.main.get_command(app), ()))


def told(page: Path) -> Iterator[str]:
    """Yield what a page shows of `aurora-sync`, from its name on."""
    text = page.read_text()
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    for piece in (*CODE.findall(FENCE.sub("", text)), *lines):
        for _, rest in re.findall(r"(^|[\s/|])aurora-sync( [^|>`;&]*)", piece):
            yield rest.strip()


def problem(words: str) -> str | None:
    """Say what is wrong with a command as a page shows it."""
    path: tuple[str, ...] = ()
    rest = words.split()
    while rest and (*path, rest[0]) in commands():
        path = (*path, rest.pop(0))
    # Prose may go on behind a command; a group alone is told as a word for it.
    if not path and rest and re.fullmatch(r"[a-z-]+", rest[0]):
        return f"no command {rest[0]}"
    known = commands()[path]
    given = [re.split(r"[=\]]", word)[0].lstrip("[") for word in rest]
    strange = [word for word in given if re.match(r"--[a-z]", word)]
    strange = [word for word in strange if word.rstrip(",.;:") not in known]
    return f"{' '.join(path)} has no {strange[0]}" if strange else None


@pages
def test_every_command_and_option_that_a_page_shows_exists(page):
    found = {words: problem(words) for words in told(page)}
    assert {words: why for words, why in found.items() if why} == {}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("sync public.orders --wait", None),
        ("local up --no-deploy --config FILE", None),
        ("backfill TABLE [--where CONDITION]", None),
        ("synk", "no command synk"),
        ("sync --now", "sync has no --now"),
        ("local up --wait", "local up has no --wait"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(words, why):
    assert problem(words) == why


@pages
def test_modules_are_run_by_the_environments_python(page):
    text = page.read_text()
    assert re.findall(r"(?<!\.venv/bin/)\bpython3? -m.*", text) == []


def test_commands_are_found_in_text_and_blocks():
    found = {words for page in PAGES for words in told(page)}
    assert {"doctor", "sync --wait --stack dev"} <= found
    assert len(found) > 30


def test_every_page_of_the_docs_can_be_reached_from_the_readme():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        todo += [(page.parent / link).resolve() for link in links if ":" not in link]
    assert sorted(set(ROOT.glob("docs/**/*.md")) - reached) == []


def test_the_architecture_names_every_component_and_package():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    code = "".join(path.read_text() for path in ROOT.glob("infra/components/*.py"))
    components = re.findall(r"class (\w+)\(pulumi\.ComponentResource\)", code)
    assert len(components) > 12
    assert [each for each in components if each not in text] == []
    picture = text[text.index("## Who imports whom") :]
    packages = [
        f"{path.parts[-3]}.{path.parts[-2]}"
        for top in ("infra", "runtime")
        for path in ROOT.glob(f"{top}/*/__init__.py")
    ]
    # What Pulumi alone imports.
    packages.remove("infra.policy_pack")
    assert [each for each in packages if each not in picture] == []
