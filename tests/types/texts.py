"""Texts, bytes and names: every character as it is, blanks and all."""

import ipaddress

from hypothesis import strategies as st

from tests.types.kinds import BYTES, TEXT, Kind, Value, literals

LABELS = ("so so", "it's", 'a "b"', "x,y", "back\\slash", "😀", "ü" * 31, "NULL", " ")
SPECIAL = (
    *("", " ", "  a  ", "\t", "\n", "a\nb", "\r\n", "\r", '"', '""', "'", "''", ","),
    *("\\", "\\N", "\\.", "\\\\", '\\"', "NULL", "null", "é€😀", "e\u0301", "\ufeff"),
    *("\u200b", "\x01\x1f\x7f", "\u2028", "{}", 'a,b\n"c"', "x" * 10_000, "$1"),
    *("?", "%s", "${x}", "--", "/*", "NaN", "-0", "0x1F", "\U0010ffff", "\ue000"),
)
# PostgreSQL has no place for U+0000, and UTF-8 none for half a surrogate pair.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
words = st.one_of(
    st.text(CHARACTERS, max_size=20),
    st.text(st.sampled_from(" \"'\\,\n\r\tN.a😀é"), max_size=8),
    st.sampled_from(SPECIAL[:-10]),
)


def _as_is(text: str) -> Value:
    return Value(text, text)


def _text(declared: str, most: int | None = None) -> Kind:
    special = [each for each in SPECIAL if most is None or len(each) <= most]
    full = [] if most is None else ["😀" * most, " " * most, "x" * (most - 1) + " "]
    drawn = words if most is None else words.map(lambda text: text[:most])
    return Kind(
        declared=declared,
        form=TEXT,
        drawn=drawn.map(_as_is),
        edges=tuple(map(_as_is, [*special, *full])),
    )


def _padded(length: int) -> Kind:
    def value(text: str) -> Value:
        text = text[:length]
        return Value(text, text.ljust(length))

    return Kind(
        declared=f"char({length})",
        form=TEXT,
        drawn=words.map(value),
        edges=(
            *map(value, {each[:length] for each in SPECIAL}),
            Value("ab" + " " * 40, "ab".ljust(length)),
        ),
    )


def _cut(text: str) -> Value:
    """A name has 63 bytes, and no half character."""
    return Value(text, text.encode()[:63].decode(errors="ignore"))


_NAME = Kind(
    declared="name",
    form=TEXT,
    drawn=words.map(_cut),
    edges=tuple(map(_cut, ("", " x ", "x" * 63, "x" * 64, "é" * 32, "😀" * 16, '"'))),
)


def _byte(code: int) -> Value:
    """One byte; beyond ASCII it is read and printed as octal digits."""
    text = f"\\{code:03o}" if code > 127 else chr(code) if code else ""
    return Value(text, text)


_CHAR = Kind(
    declared='"char"',
    form=TEXT,
    drawn=st.integers(0, 255).map(_byte),
    edges=tuple(map(_byte, (0, 1, 9, 10, 13, 32, 34, 39, 44, 92, 127, 128, 255))),
)
_UUID = Kind(
    declared="uuid",
    form=TEXT,
    drawn=st.uuids().map(lambda it: Value(str(it).upper(), str(it))),
    edges=(
        _as_is("00000000-0000-0000-0000-000000000000"),
        _as_is("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        Value(
            "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
        ),
    ),
)


def _bytes(value: bytes) -> Value:
    return Value("\\x" + value.hex(), value)


_BYTEA = Kind(
    declared="bytea",
    form=BYTES,
    drawn=st.binary(max_size=40).map(_bytes),
    edges=(
        *map(_bytes, (b"", b"\0", b"\xff", bytes(range(256)), b"\xde\xad\xbe\xef")),
        _bytes(bytes(range(256)) * 400),
        Value("\\\\x", b"\\x"),
        Value("\\000a\\377", b"\0a\xff"),
    ),
    back="pg_catalog.decode({text}, 'hex')",
)


def _enum(label: str) -> Value:
    return Value(label, label)


_ENUM = Kind(
    declared="public.mood",
    form=TEXT,
    drawn=st.sampled_from(LABELS).map(_enum),
    edges=tuple(map(_enum, LABELS)),
)
# The composite of MADE, domains and the enum.
MADE = (
    "CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION ltree SCHEMA public;"
    "CREATE EXTENSION hstore SCHEMA public;"
    "CREATE DOMAIN public.short AS VARCHAR(9);"
    "CREATE DOMAIN public.shorter AS public.short CHECK (VALUE <> 'no');"
    "CREATE DOMAIN public.price AS NUMERIC(12,2) CHECK (VALUE IS NOT NULL OR TRUE);"
    "CREATE DOMAIN public.numbers AS INTEGER[];"
    "CREATE TYPE public.mood AS ENUM ("
    + ", ".join("'" + label.replace("'", "''") + "'" for label in LABELS)
    + ");"
    "CREATE TYPE public.pair AS (n INTEGER, t TEXT);"
    'CREATE TYPE public.mixed AS (d NUMERIC, "a b" TEXT, f DOUBLE PRECISION,'
    " at TIMESTAMPTZ, inner_one public.pair, many INTEGER[]);"
)


def _address(drawn: tuple[int, int, bool]) -> Value:
    """An address always carries its mask; IPv4 inside IPv6 is written with points."""
    number, mask, four = drawn
    if four:
        address = str(ipaddress.IPv4Address(number % 2**32))
        mask %= 33
    else:
        address = _ipv6(ipaddress.IPv6Address(number))
        mask %= 129
    return Value(f"{address}/{mask}", f"{address}/{mask}")


def _ipv6(address: ipaddress.IPv6Address) -> str:
    text = address.compressed
    if address.ipv4_mapped:
        return f"::ffff:{address.ipv4_mapped}"
    if 2**16 <= int(address) < 2**32:
        return f"::{ipaddress.IPv4Address(int(address))}"
    return text


_SPARSE = st.tuples(
    st.lists(st.sampled_from((0, 0, 0, 1, 0xFFFF, 0x20)), min_size=8, max_size=8)
).map(lambda drawn: sum(group << 16 * n for n, group in enumerate(drawn[0])))
_INET = Kind(
    declared="inet",
    form=TEXT,
    drawn=st.tuples(
        st.one_of(st.integers(0, 2**128 - 1), _SPARSE),
        st.integers(0, 128),
        st.booleans(),
    ).map(_address),
    edges=(
        Value("10.0.0.1", "10.0.0.1/32"),
        Value("::1", "::1/128"),
        *literals(str, "0.0.0.0/0", "::/0", "255.255.255.255/32", "::ffff:1.2.3.4/128"),
        Value("2001:DB8::1/64", "2001:db8::1/64"),
    ),
)

TEXTS = (
    _text("text"),
    _text("varchar"),
    _text("varchar(7)", 7),
    _text("public.short", 9),
    _text("public.shorter", 9),
    _text("public.citext"),
    _padded(5),
    _text("bpchar"),
    _NAME,
    _CHAR,
    _UUID,
    _BYTEA,
    _ENUM,
    _INET,
)
