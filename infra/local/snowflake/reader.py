"""Reads what fakesnow cannot parse, word by word, from sqlglot's tokens.

Nothing is searched for in raw text: a word inside a string, a comment or a quoted
name is never taken for a keyword.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from fakesnow.conn import FakeSnowflakeConnection
from sqlglot import Token, TokenType, exp
from sqlglot.dialects.snowflake import Snowflake

from runtime.contract.errors import WarehouseError
from runtime.contract.names import quote_snowflake

_STRINGS = (TokenType.STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING)
_END = Token(TokenType.SEMICOLON, "")


class Name(NamedTuple):
    """Where an object stands; objects of the account have a name only."""

    database: str
    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The name as SQL text, quoted where it must be."""
        return ".".join(quote_snowflake(part) for part in self if part)

    @classmethod
    def of(cls, table: exp.Table, database: str, schema: str) -> "Name":
        """Return the stored name of a table in a syntax tree."""

        def stored(part: Any, default: str) -> str:
            if part is None:
                return default
            return str(part.name if part.args.get("quoted") else part.name.upper())

        return cls(
            stored(table.args.get("catalog"), database),
            stored(table.args.get("db"), schema),
            stored(table.this, ""),
        )


class Reader:
    """Walks over one statement.

    Args:
        sql: The statement.
        database: Completes names without a database.
        schema: Completes names without a schema.
    """

    def __init__(self, sql: str, database: str = "", schema: str = "") -> None:
        self.sql = sql
        self.database = database
        self.schema = schema
        self.tokens = Snowflake().tokenize(sql)
        # The tokenizer takes all that follows EXECUTE for one string.
        if len(self.tokens) == 2 and self.tokens[0].text.upper() == "EXECUTE":
            self.sql = self.tokens[1].text
            self.tokens = [self.tokens[0], *Snowflake().tokenize(self.sql)]
        self._at = 0

    @property
    def token(self) -> Token:
        """The next token; a semicolon at the end."""
        return self.tokens[self._at] if self._at < len(self.tokens) else _END

    @property
    def done(self) -> bool:
        """Whether nothing but a closing semicolon is left."""
        return self.token.token_type == TokenType.SEMICOLON

    def peek(self) -> str:
        """Return the next word in upper case; empty when it is no bare word."""
        quoted = (*_STRINGS, TokenType.IDENTIFIER)
        return "" if self.token.token_type in quoted else self.token.text.upper()

    def take(self, *words: str) -> bool:
        """Step over these words if they come next."""
        start = self._at
        for word in words:
            if self.peek() != word:
                self._at = start
                return False
            self._at += 1
        return True

    def need(self, *words: str) -> None:
        """Step over these words, which must come next."""
        if not self.take(*words):
            self.refuse(" ".join(words))

    def refuse(self, allowed: str) -> NoReturn:
        """Refuse the statement at the next token."""
        raise WarehouseError(
            "statement is not in the form the local Snowflake knows",
            got=self.sql[self.token.start :][:60] if self.token.text else "the end",
            allowed=allowed,
        )

    def finish(self) -> None:
        """Refuse the statement if anything is left of it."""
        if not self.done:
            self.refuse("the end of the statement")

    def identifier(self) -> str:
        """Read one identifier as it is stored."""
        token = self.token
        if self.done or token.token_type in _STRINGS or not token.text.strip("()=,@."):
            self.refuse("a name")
        self._at += 1
        quoted = token.token_type == TokenType.IDENTIFIER
        return token.text if quoted else token.text.upper()

    def account_name(self) -> Name:
        """Read the name of an object of the account."""
        return Name("", "", self.identifier())

    def name(self) -> Name:
        """Read a name in a schema, completed from the session."""
        parts = [self.identifier()]
        while self.take("."):
            parts.append(self.identifier())
        if len(parts) > 3:
            self.refuse("a name of at most three parts")
        home = [self.database, self.schema]
        full = home[: 3 - len(parts)] + parts
        if not all(full):
            raise WarehouseError(
                "name is not qualified and the session has no current schema",
                got=parts[-1],
                remedy="write database.schema.name",
            )
        return Name(*full)

    def schema_name(self) -> Name:
        """Read the name of a schema, completed by the session's database."""
        first = self.identifier()
        if self.take("."):
            return Name(first, self.identifier(), "")
        return Name(self.database, first, "")

    def text(self) -> str:
        """Read a string."""
        if self.token.token_type not in _STRINGS:
            self.refuse("a string")
        self._at += 1
        return self.tokens[self._at - 1].text

    def options(self, *ends: str) -> dict[str, Any]:
        """Read `KEY = value …` up to one of the words or the end."""
        found: dict[str, Any] = {}
        while not self.done and self.peek() not in (*ends, ")"):
            self.take(",")
            key = self.identifier()
            self.need("=")
            found[key] = self._value()
        return found

    def _value(self) -> Any:
        if self.token.token_type in _STRINGS:
            return self.text()
        if self.token.token_type == TokenType.NUMBER:
            return int(float(self.identifier()))
        if self.take("("):
            return self._group()
        if self.peek() in ("TRUE", "FALSE"):
            return self.identifier() == "TRUE"
        parts = [self.identifier()]
        while self.take("."):
            parts.append(self.identifier())
        # One name is told as it is stored, a longer one as SQL text again.
        return parts[0] if len(parts) == 1 else Name(*["", "", *parts][-3:]).sql

    def _group(self) -> dict[str, Any] | list[Any]:
        following = self.tokens[self._at + 1 : self._at + 2]
        if following and following[0].text == "=":
            options = self.options()
            self.need(")")
            return options
        values = []
        while not self.take(")"):
            values.append(self._value())
            self.take(",")
        return values

    def until(self, word: str) -> str:
        """Return the text before the next such word outside parentheses; step over."""
        start, depth = self.token.start, 0
        while not self.done and (depth or self.peek() != word):
            depth += {"(": 1, ")": -1}.get(self.token.text, 0)
            self._at += 1
        end = self.token.start
        self.need(word)
        return self.sql[start:end].strip()

    def stage(self) -> tuple[Name, str]:
        """Read `@database.schema.stage/path` as the stage and the path below it."""
        self.need("@")
        name = self.name()
        start = end = self.tokens[self._at - 1].end + 1
        while not self.done and self.token.start == end and self.token.text != ")":
            end = self.token.end + 1
            self._at += 1
        return name, self.sql[start:end].lstrip("/")

    def rest(self) -> str:
        """Return all that is left, without a closing semicolon."""
        start = self.token.start
        self._at = len(self.tokens)
        return self.sql[start:].strip().rstrip(";")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One statement of a client.

    Attributes:
        reader: At its first word.
        session: Of the client.
        plain: Lets fakesnow run a statement and keep its result for the client.
    """

    reader: Reader
    session: FakeSnowflakeConnection
    plain: Callable[[str], Any]


class Option(NamedTuple):
    """What the local Snowflake makes of an option.

    Attributes:
        default: Snowflake's default; None when there is none.
        honoured: Values that have their effect; None for any.
    """

    default: Any = None
    honoured: tuple[Any, ...] | None = None


def known_options(
    found: Mapping[str, Any], rules: Mapping[str, Option], what: str
) -> dict[str, Any]:
    """Check options against what the local Snowflake honours and add the defaults.

    Raises:
        WarehouseError: An option is unknown, or has a value that is not honoured.
    """
    defaults = {
        name: rule.default for name, rule in rules.items() if rule.default is not None
    }
    merged = defaults | dict(found)
    for name, value in merged.items():
        if name not in rules:
            raise WarehouseError(
                f"option of a {what} is unknown to the local Snowflake",
                got=name,
                allowed=", ".join(rules),
            )
        honoured = rules[name].honoured
        plain = value.upper() if isinstance(value, str) else value
        if honoured is not None and plain not in honoured:
            given = "" if name in found else ", which is Snowflake's default"
            raise WarehouseError(
                f"{name} of a {what} is not honoured by the local Snowflake{given}",
                got=value,
                allowed=" or ".join(repr(choice) for choice in honoured),
            )
    return merged
