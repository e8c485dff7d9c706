"""Types that arrive as the text that PostgreSQL prints: the server is the oracle.

Drawn literals are only some spelling; what must stand in Snowflake is what the output
function of the type makes of them. Edges whose text is known are held to it.
"""

from dataclasses import replace

from hypothesis import strategies as st

from tests.types.days import DAY, fields, fraction
from tests.types.kinds import PRINTED, TEXT, Kind, Value
from tests.types.moments import moments
from tests.types.texts import words

_floats = st.one_of(
    st.integers(-99, 99).map(str), st.floats(allow_nan=False, width=64).map(repr)
)
_finite = st.floats(-1e9, 1e9).map(repr)
_lexemes = st.text("abcxyz'\\ é", min_size=1, max_size=6).filter(
    lambda text: text.strip(" ")
)


def _known(
    declared: str, drawn: st.SearchStrategy[str], known: dict[str, str], *edges: str
) -> Kind:
    held = [Value(literal, text) for literal, text in known.items()]
    return Kind(
        declared=declared,
        form=TEXT,
        drawn=drawn.map(lambda text: Value(text, PRINTED)),
        edges=(*(Value(edge, PRINTED) for edge in edges), *held),
    )


def _numbered(low: int, high: int) -> st.SearchStrategy[str]:
    pair = st.tuples(st.integers(low, high), st.integers(0, 1000))
    return st.builds(
        lambda pair, ends, missing: (
            f"{ends[0]}{'' if missing == 1 else pair[0]},"
            f"{'' if missing == 2 else pair[0] + pair[1]}{ends[1]}"
        ),
        pair,
        st.sampled_from(("[)", "[]", "(]", "()")),
        st.integers(0, 5),
    )


def _timed(whole_days: bool, zone: str) -> st.SearchStrategy[str]:
    def text(low: int, more: int, ends: str) -> str:
        bounds = []
        for at in (fields(low), fields(low + more)):
            clock = "" if whole_days else f" {at.clock}{fraction(at.micro)}{zone}"
            bounds.append(f'"{at.date}{clock}{at.era}"')
        return f"{ends[0]}{bounds[0]},{bounds[1]}{ends[1]}"

    ends = st.sampled_from(("[)", "[]", "(]", "()"))
    inner = moments(high=10**17)
    return st.builds(text, inner, st.integers(0, 400 * DAY), ends)


def _many(ranges: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(ranges, max_size=3).map(lambda each: "{" + ",".join(each) + "}")


_int4 = _numbered(-(2**31) + 1, 2**31 - 2000)
_points = st.tuples(_floats, _floats).map("({0[0]},{0[1]})".format)
_finite_points = st.tuples(_finite, _finite).map("({0[0]},{0[1]})".format)


def _joined(
    around: str, least: int, most: int, points: st.SearchStrategy[str] = _points
) -> st.SearchStrategy[str]:
    return st.lists(points, min_size=least, max_size=most).map(
        lambda each: around.replace("*", ",".join(each))
    )


def _hexed(groups: int) -> st.SearchStrategy[str]:
    size = st.binary(min_size=groups, max_size=groups)
    return st.builds(
        lambda value, by, upper: value.hex(by).upper() if upper else value.hex(by),
        size,
        st.sampled_from(":-"),
        st.booleans(),
    )


def _bits(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text("01", min_size=least, max_size=most)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


_vector = st.lists(
    st.builds(
        lambda word, at: _quoted(word) + at,
        _lexemes,
        st.sampled_from(("", "", ":1", ":3A,5B", ":2C")),
    ),
    max_size=4,
).map(" ".join)
_query = st.lists(
    st.builds(
        lambda no, word, tail: no + _quoted(word) + tail,
        st.sampled_from(("", "", "!")),
        _lexemes,
        st.sampled_from(("", "", ":*", ":AB")),
    ),
    min_size=1,
    max_size=4,
)
_queries = st.builds(
    lambda words, by: by.join(words), _query, st.sampled_from((" & ", " | ", " <-> "))
)
_lsn = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
_labels = st.lists(st.text("abcXYZ09_-", min_size=1, max_size=5), max_size=4)
_path = st.lists(
    st.sampled_from((".a", '."b c"', "[0]", "[*]", "[last]", ".*", "?(@.x > 1)", ".é")),
    max_size=4,
).map(lambda steps: "$" + "".join(steps))
_cidr = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda it: "{}.{}.{}.{}/{}".format(
        *((it[0] >> (32 - it[1]) << (32 - it[1])) >> 8 * n & 255 for n in (3, 2, 1, 0)),
        it[1],
    )
)

RANGES = (
    _known(
        "int4range",
        _int4,
        {"[1,5]": "[1,6)", "empty": "empty", "(,)": "(,)", "[3,3)": "empty"},
    ),
    _known(
        "int8range",
        _numbered(-(2**62), 2**62),
        {"(,9223372036854775807)": "(,9223372036854775807)", "(1,4)": "[2,4)"},
    ),
    _known(
        "numrange",
        _numbered(-(10**40), 10**40),
        {"[1.10,2.0]": "[1.10,2.0]", "[NaN,]": "[NaN,)", "(,Infinity)": "(,Infinity)"},
    ),
    _known(
        "tsrange",
        _timed(False, ""),
        {
            "[2024-01-01,2024-01-02 03:04:05.6]": '["2024-01-01 00:00:00",'
            '"2024-01-02 03:04:05.6"]',
            "[-infinity,infinity)": "[-infinity,infinity)",
        },
    ),
    _known(
        "tstzrange",
        _timed(False, "+05:30"),
        {
            "[2024-01-01 00:00+05:30,)": '["2023-12-31 18:30:00+00",)',
            "(,0044-03-15 00:00+00 BC)": '(,"0044-03-15 00:00:00+00 BC")',
        },
    ),
    _known(
        "daterange",
        _timed(True, ""),
        {"[2024-02-28,2024-02-29]": "[2024-02-28,2024-03-01)", "(,)": "(,)"},
    ),
    _known(
        "int4multirange",
        _many(_int4),
        {"{}": "{}", "{[1,2],[3,5)}": "{[1,5)}", "{[1,2),[8,)}": "{[1,2),[8,)}"},
    ),
    _known("nummultirange", _many(_numbered(-99, 99)), {"{(,1.10]}": "{(,1.10]}"}),
    _known(
        "tstzmultirange",
        _many(_timed(False, "-04:56:02")),
        {"{[2024-01-01 00:00+01,)}": '{["2023-12-31 23:00:00+00",)}'},
    ),
)
PLACES = (
    _known("point", _points, {"(1,-0)": "(1,-0)", "(0.1,1e300)": "(0.1,1e+300)"}),
    _known(
        "line",
        st.tuples(st.integers(1, 9), _finite, _finite).map(
            "{{{0[0]},{0[1]},{0[2]}}}".format
        ),
        {"{1,-1,0}": "{1,-1,0}"},
    ),
    _known("lseg", _joined("[*]", 2, 2), {"((0,0),(1,1))": "[(0,0),(1,1)]"}),
    _known("box", _joined("*", 2, 2), {"(0,0),(1,1)": "(1,1),(0,0)"}),
    _known(
        "path",
        st.one_of(_joined("[*]", 1, 4), _joined("(*)", 1, 4)),
        {"((0,0),(1,1))": "((0,0),(1,1))", "[(0,0),(1,1)]": "[(0,0),(1,1)]"},
    ),
    _known(
        "polygon",
        _joined("(*)", 1, 4, _finite_points),
        {"((0,0),(1,1),(1,0))": "((0,0),(1,1),(1,0))"},
    ),
    _known(
        "circle",
        st.tuples(_points, st.integers(0, 99)).map("<{0[0]},{0[1]}>".format),
        {"<(0,0),1.5>": "<(0,0),1.5>"},
    ),
)
ODDS = (
    _known("cidr", _cidr, {"10.0.0.0/8": "10.0.0.0/8", "10.1": "10.1.0.0/16"}),
    _known("macaddr", _hexed(6), {"08-00-2B-01-02-03": "08:00:2b:01:02:03"}),
    _known("macaddr8", _hexed(8), {"08:00:2b:01:02:03": "08:00:2b:ff:fe:01:02:03"}),
    _known("bit(5)", _bits(5, 5), {"00000": "00000", "10101": "10101"}),
    _known("varbit", _bits(0, 20), {"": "", "1": "1", "x1F": "00011111"}),
    _known("varbit(9)", _bits(0, 9), {"": "", "101010101": "101010101"}),
    _known(
        "tsvector",
        _vector,
        {"fat cat fat:2A": "'cat' 'fat':2A", "": "", "'it''s'": "'it''s'"},
    ),
    _known("tsquery", _queries, {"fat & !rat:*": "'fat' & !'rat':*", "": ""}),
    _known(
        "pg_lsn",
        _lsn.map(lambda it: f"{it[0]:X}/{it[1]:X}"),
        {
            "16/b374d848": "16/B374D848",
            "0/0": "0/0",
            "FFFFFFFF/FFFFFFFF": "FFFFFFFF/FFFFFFFF",
        },
    ),
    _known(
        "xid",
        st.integers(0, 2**32 - 1).map(str),
        {"0": "0", "4294967295": "4294967295"},
    ),
    _known(
        "xid8",
        st.integers(0, 2**64 - 1).map(str),
        {"18446744073709551615": "18446744073709551615"},
    ),
    _known("cid", st.integers(0, 2**32 - 1).map(str), {"7": "7"}),
    _known(
        "tid",
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)).map(
            "({0[0]},{0[1]})".format
        ),
        {"(0,1)": "(0,1)"},
    ),
    _known(
        "pg_snapshot",
        st.integers(10, 2**31).map(lambda n: f"{n}:{n + 9}:{n + 1},{n + 5}"),
        {"10:20:10,14,15": "10:20:10,14,15", "10:10:": "10:10:"},
    ),
    _known(
        "txid_snapshot",
        st.integers(10, 2**31).map(lambda n: f"{n}:{n + 9}:"),
        {"10:20:10,14": "10:20:10,14"},
    ),
    _known(
        "jsonpath",
        _path,
        {"$.a[*] ? (@ > 1)": '$."a"[*]?(@ > 1)', "strict $": "strict $"},
    ),
    _known("refcursor", words, {"": "", " a ": " a "}),
    _known(
        "public.ltree",
        _labels.map(".".join),
        {"": "", "Top.Science_1": "Top.Science_1"},
    ),
)
_REGISTERED = {
    "regclass": ("pg_class", "public.pair", "99999", "-"),
    "regtype": ("integer", "text[]", "public.mood", "12345678"),
    "regproc": ("now", "pg_catalog.now", "-"),
    "regprocedure": ("abs(integer)", "now()", "-"),
    "regoper": ("||/", "0"),
    "regoperator": ("+(integer,integer)", "0"),
    "regrole": ("postgres", "-"),
    "regnamespace": ("pg_catalog", "public", "-"),
    "regconfig": ("english", "simple", "-"),
    "regdictionary": ("simple", "english_stem", "-"),
    "regcollation": ('"C"', '"POSIX"', "-"),
}
# A cast of text to regclass takes no number; its input function does.
_REGCLASS = "pg_catalog.regclassin({text}::cstring)"
REGISTERED = tuple(
    replace(
        _known(declared, st.sampled_from(names), {}, *names),
        back=_REGCLASS if declared == "regclass" else Kind.back,
    )
    for declared, names in _REGISTERED.items()
)
PRINTED_KINDS = (*RANGES, *PLACES, *ODDS, *REGISTERED)
