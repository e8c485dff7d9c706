"""What production code must not contain: one function per rule, over one syntax tree.

Each yields what it finds. They see what is written and not what it becomes at run
time: text that is put together from parts, or a client that a helper hands out, is
beyond them.
"""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """Something that a rule forbids.

    Attributes:
        line: Where it stands.
        what: What stands there.
    """

    line: int
    what: str


_STAR = re.compile(r"\bSELECT\s+(?:(?:ALL|DISTINCT)\s+)?(?:[\w\"{}]+\.)?\*", re.I)
_MORE_STARS = re.compile(r"\bSELECT\b[^;]*?,\s*[\w\"{}]+\.\*", re.I)
_SQL = re.compile(
    r"\b(?:SELECT\s|INSERT\s+INTO\s|UPDATE\s|DELETE\s+FROM\s|MERGE\s+INTO\s|COPY\s"
    r"|(?:CREATE|ALTER|DROP|TRUNCATE)\s+(?:OR\s+REPLACE\s+)?[A-Z]+\s)"
)
_PLACES = {
    "an account": re.compile(r"(?<![\d.])\d{12}(?![\d.])"),
    "an ARN": re.compile(r"arn:aws[\w-]*:[a-z0-9-]+:[a-z0-9-]*:\d"),
    "a region": re.compile(r"(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-\d\Z"),
    "an id of AWS": re.compile(
        r"\b(?:vpc|subnet|sg|rtb|vpce|eni|igw)-[0-9a-f]{8,17}\b"
    ),
    # Where a vendor documents a fact is its source, not a place that is reached.
    "an address": re.compile(
        r"https?://(?!docs\.aws\.amazon\.com|docs\.snowflake\.com"
        r"|developer\.hashicorp\.com)[\w-]+(?:\.[\w-]+)+"
    ),
    "a bucket": re.compile(r"s3://[\w.-]+"),
    "a host": re.compile(
        r"[\w-]+\.(?:rds\.amazonaws|snowflakecomputing)\.com"
        r"|\b\d+\.\d+\.\d+\.\d+:\d"
    ),
}
_MACHINE = re.compile(r"(?<![\w.~$}-])/(?:home|Users|root|tmp|private|workspace)/[\w{]")
_MACHINE_WINDOWS = re.compile(r"\b[A-Z]:\\\w")
_TIMED = {
    "subprocess.run": ("timeout",),
    "subprocess.call": ("timeout",),
    "subprocess.check_call": ("timeout",),
    "subprocess.check_output": ("timeout",),
    "requests.delete": ("timeout",),
    "requests.get": ("timeout",),
    "requests.head": ("timeout",),
    "requests.patch": ("timeout",),
    "requests.post": ("timeout",),
    "requests.put": ("timeout",),
    "requests.request": ("timeout",),
    "urllib.request.urlopen": ("timeout",),
    "urlopen": ("timeout",),
    "socket.create_connection": ("timeout",),
    "http.client.HTTPConnection": ("timeout",),
    "http.client.HTTPSConnection": ("timeout",),
    "HTTPConnection": ("timeout",),
    "HTTPSConnection": ("timeout",),
    "hvac.Client": ("timeout",),
    "psycopg2.connect": ("connect_timeout",),
    "snowflake.connector.connect": ("login_timeout", "network_timeout"),
    "Config": ("connect_timeout", "read_timeout"),
    "botocore.config.Config": ("connect_timeout", "read_timeout"),
}
_BROAD = frozenset({"Exception", "BaseException"})
_DEFAULTS = frozenset({"DefaultVpc", "DefaultSubnet", "DefaultVpcDhcpOptions"})


def select_star(tree: ast.AST) -> Iterator[Finding]:
    """Find `SELECT *` in SQL text; `COUNT(*)` is none."""
    for line, text in _texts(tree):
        if _STAR.search(text) or _MORE_STARS.search(text):
            yield Finding(line, "SELECT * in SQL")


def swallowed_exceptions(tree: ast.AST) -> Iterator[Finding]:
    """Find bare `except`, and a broad one that neither raises nor uses the error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield Finding(node.lineno, "bare except")
            elif _is_broad(node.type) and not _is_heard(node):
                yield Finding(node.lineno, "a broad except that swallows the error")
        elif isinstance(node, ast.Call) and _dotted(node.func).endswith("suppress"):
            if any(_is_broad(each) for each in node.args):
                yield Finding(node.lineno, "suppress() of every error")


def calls_without_timeout(tree: ast.AST) -> Iterator[Finding]:
    """Find calls to the outside that may wait for ever."""
    makers = set(_session_names(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, given = _dotted(node.func), set(_given(node))
        missing = [key for key in _TIMED.get(name, ()) if key not in given]
        if missing and not _has_positional_timeout(name, node):
            yield Finding(node.lineno, f"{name}() without {' and '.join(missing)}")
        if _makes_client(node.func, makers) and "config" not in given:
            yield Finding(node.lineno, "a client of boto3 without config")


def hard_coded_places(tree: ast.AST) -> Iterator[Finding]:
    """Find accounts, ARNs, regions, ids and addresses that belong into settings."""
    for line, text in _texts(tree):
        for what, pattern in _PLACES.items():
            if pattern.match(text) if what == "a region" else pattern.search(text):
                yield Finding(line, f"{what} in the code: {text[:60]!r}")


def table_names(tree: ast.AST, tables: frozenset[str]) -> Iterator[Finding]:
    """Find names of configured tables."""
    words = "|".join(re.escape(name) for name in sorted(tables))
    pattern = re.compile(rf"(?<![\w.\"])\"?(?:{words})\"?(?![\w\"])", re.I)
    for line, text in _texts(tree):
        if pattern.search(text):
            yield Finding(line, f"a configured table in the code: {text[:60]!r}")


def default_vpcs(tree: ast.AST) -> Iterator[Finding]:
    """Find what would take the account's default network."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in _DEFAULTS:
                yield Finding(node.lineno, f"{name} adopts the default VPC")
        elif isinstance(node, ast.Call) and "get_vpc" in _dotted(node.func):
            if any(each.arg == "default" for each in node.keywords):
                yield Finding(node.lineno, "a look-up of the default VPC")
        elif isinstance(node, ast.keyword) and node.arg == "default_for_az":
            yield Finding(node.value.lineno, "a look-up of default subnets")


def prints(tree: ast.AST) -> Iterator[Finding]:
    """Find print(): the runtime speaks through its log.

    Metrics are lines of their own form, which no logger may wrap.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _dotted(node.func) != "print":
            continue
        first = node.args[0] if node.args else None
        if not (isinstance(first, ast.Call) and _dotted(first.func) == "metrics.line"):
            yield Finding(node.lineno, "print()")


def asserts(tree: ast.AST) -> Iterator[Finding]:
    """Find assert, which `python -O` removes and which tells no remedy."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield Finding(node.lineno, "assert")


def machine_paths(tree: ast.AST) -> Iterator[Finding]:
    """Find paths that exist on somebody's machine only."""
    for line, text in _texts(tree):
        if _MACHINE.search(text) or _MACHINE_WINDOWS.search(text):
            yield Finding(line, f"a path of a machine: {text[:60]!r}")


def mutable_defaults(tree: ast.AST) -> Iterator[Finding]:
    """Find defaults that all calls of a function share."""
    kinds = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                made = isinstance(default, ast.Call) and _dotted(default.func) in (
                    *("list", "dict", "set", "bytearray", "defaultdict", "deque"),
                )
                if isinstance(default, kinds) or made:
                    yield Finding(node.lineno, "a default that calls share")


def values_between_quotes(tree: ast.AST) -> Iterator[Finding]:
    """Find values put between quotes in SQL text, where only a quoting function may.

    What stands in an identifier's place without quotes is not judged: whether it was
    quoted before cannot be seen.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr) or not _SQL.search(_joined(node)):
            continue
        for before, value, after in zip(
            node.values, node.values[1:], node.values[2:], strict=False
        ):
            if not isinstance(value, ast.FormattedValue):
                continue
            left, right = _constant(before)[-1:], _constant(after)[:1]
            if left == right and left in ("'", '"'):
                yield Finding(value.lineno, f"a value between {left}…{left} in SQL")


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """All text of the code but docstrings; values of f-strings as {}."""
    skipped = set(_docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, _joined(node)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
        ):
            yield node.lineno, node.value


def _docstrings(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Docstrings, and texts that stand alone elsewhere and do nothing.
            yield from (id(each.value) for each in body if isinstance(each, ast.Expr))


def _joined(node: ast.JoinedStr) -> str:
    return "".join(_constant(part) or "{}" for part in node.values)


def _constant(node: ast.AST) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _dotted(node: ast.AST) -> str:
    """The name of what is called, as far as it is written out."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple):
        return any(_is_broad(each) for each in node.elts)
    return _dotted(node) in _BROAD


def _is_heard(handler: ast.ExceptHandler) -> bool:
    """Whether the handler raises, or does something with the error."""
    return any(
        isinstance(node, ast.Raise)
        or (isinstance(node, ast.Name) and node.id == handler.name)
        for each in handler.body
        for node in ast.walk(each)
    )


def _given(node: ast.Call) -> Iterator[str]:
    """Names of the arguments, also of those written out in a **{...}."""
    for each in node.keywords:
        if each.arg is not None:
            yield each.arg
        elif isinstance(each.value, ast.Dict):
            yield from (_constant(key) for key in each.value.keys if key is not None)


def _has_positional_timeout(name: str, node: ast.Call) -> bool:
    return name == "socket.create_connection" and len(node.args) > 1


def _session_names(tree: ast.AST) -> Iterator[str]:
    """Names bound to boto3's sessions, or to their `client`."""
    for node in ast.walk(tree):
        targets, value = _assigned(node)
        if value is not None and (
            _is_session(value)
            or (isinstance(value, ast.Attribute) and _is_session(value.value))
        ):
            yield from targets


def _assigned(node: ast.AST) -> tuple[list[str], ast.AST | None]:
    if isinstance(node, ast.Assign):
        return [_dotted(target) for target in node.targets], node.value
    if isinstance(node, ast.AnnAssign):
        return [_dotted(node.target)], node.value
    return [], None


def _is_session(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _dotted(node.func) in (
        *("boto3.Session", "boto3.session.Session", "Session"),
    )


def _makes_client(function: ast.AST, makers: set[str]) -> bool:
    if _dotted(function) in ("boto3.client", "boto3.resource"):
        return True
    if isinstance(function, ast.Attribute) and function.attr in ("client", "resource"):
        return _is_session(function.value) or _dotted(function.value) in makers
    return isinstance(function, ast.Name) and function.id in makers
