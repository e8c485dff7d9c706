"""Statements about objects: CREATE, DROP, ALTER, DESC, SHOW, GRANT, EXECUTE TASK."""

from collections.abc import Callable
from typing import Any

from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from infra.local.snowflake import integrations, objects
from infra.local.snowflake.containers import Containers
from infra.local.snowflake.integrations import NOTIFICATION, STORAGE
from infra.local.snowflake.objects import Catalog, missing, rows_sql, status_sql
from infra.local.snowflake.pipes import Pipes
from infra.local.snowflake.reader import Call, Name, Reader
from infra.local.snowflake.streams import Streams
from infra.local.snowflake.tasks import Tasks

# Kinds of objects; the tokenizer takes the double ones for one word.
_IN_SCHEMA = ("FILE FORMAT", "STAGE", "PIPE", "STREAM", "TASK")
_OF_ACCOUNT = (STORAGE, NOTIFICATION, *objects.RECORDED)
_SHOWN = {
    "INTEGRATIONS": (STORAGE, ("ENABLED", "STORAGE_AWS_ROLE_ARN")),
    "FILE FORMATS": ("FILE FORMAT", ("TYPE",)),
    "STAGES": ("STAGE", ("URL", "STORAGE_INTEGRATION")),
    "PIPES": (
        "PIPE",
        ("definition", "notification_channel", "paused", "error_integration"),
    ),
    "STREAMS": ("STREAM", ("table_name", "stale", "mode")),
    "TASKS": (
        "TASK",
        ("warehouse", "state", "condition", "definition", "error_integration"),
    ),
    "WAREHOUSES": ("WAREHOUSE", ()),
    "ROLES": ("ROLE", ()),
}


class ObjectStatements:
    """Answers a statement, or hands one about tables and views on.

    Args:
        catalog: Definitions of all objects.
        containers: Databases and schemas.
        streams: All streams.
        pipes: All pipes.
        tasks: All tasks.
        table_ddl: Runs DDL of tables and views.
    """

    def __init__(
        self,
        catalog: Catalog,
        containers: Containers,
        streams: Streams,
        pipes: Pipes,
        tasks: Tasks,
        table_ddl: Callable[[Call], str | None],
    ) -> None:
        self._catalog = catalog
        self._containers = containers
        self._streams = streams
        self._pipes = pipes
        self._tasks = tasks
        self._table_ddl = table_ddl
        self.verbs: dict[str, Callable[[Call], str | None]] = {
            "CREATE": self._create,
            "DROP": self._drop,
            "ALTER": self._alter,
            "DESC": self._describe,
            "DESCRIBE": self._describe,
            "SHOW": self._show,
            "EXECUTE": self._execute_task,
            "GRANT": self._grant,
            "REVOKE": self._grant,
        }

    def _create(self, call: Call) -> str | None:
        reader = call.reader
        reader.need("CREATE")
        replace = reader.take("OR", "REPLACE")
        transient = reader.take("TRANSIENT")
        if reader.peek() in ("DATABASE", "SCHEMA"):
            return self._containers.create(reader, call.plain, replace)
        kind = self._kind(reader)
        if kind is None or transient:
            return self._table_ddl(call)
        exists_ok = reader.take("IF", "NOT", "EXISTS")
        name = self._name(kind, reader)
        if self._catalog.has(kind, name) and not replace:
            if exists_ok:
                return status_sql(f"{name.name} already exists, statement succeeded.")
            raise ProgrammingError(
                msg=f"Object '{name.sql}' already exists.", errno=2002, sqlstate="42710"
            )
        if name.schema:
            self._containers.check_schema(name)
        self._make(kind, name, reader)
        reader.finish()
        return status_sql(f"{kind.capitalize()} {name.name} successfully created.")

    def _make(self, kind: str, name: Name, reader: Reader) -> None:
        active: dict[str, Callable[[Name, Reader], None]] = {
            "PIPE": self._pipes.create,
            "STREAM": self._streams.create,
            "TASK": self._tasks.create,
        }
        if kind in active:
            return active[kind](name, reader)
        reader.take("WITH")
        readers: dict[str, Callable[[Reader], dict[str, Any]]] = {
            STORAGE: integrations.read_storage,
            NOTIFICATION: integrations.read_notification,
            "FILE FORMAT": objects.read_file_format,
            "STAGE": lambda reader: objects.read_stage(reader, self._catalog),
        }
        read = readers.get(kind)
        definition = read(reader) if read else reader.options()
        return self._catalog.put(kind, name, definition)

    def _drop(self, call: Call) -> str | None:
        reader = call.reader
        reader.need("DROP")
        if reader.peek() in ("DATABASE", "SCHEMA"):
            return self._containers.drop(reader, call.session)
        kind = self._kind(reader)
        if kind is None:
            return self._table_ddl(call)
        exists_only = reader.take("IF", "EXISTS")
        name = self._name(kind, reader)
        reader.finish()
        if not self._catalog.has(kind, name):
            if exists_only:
                return status_sql("Drop statement executed successfully.")
            raise missing(kind, name)
        active = {"PIPE": self._pipes.drop, "STREAM": self._streams.drop}
        if kind in active:
            active[kind](name)
        else:
            self._catalog.drop(kind, name)
        return status_sql(f"{name.name} successfully dropped.")

    def _alter(self, call: Call) -> str | None:
        reader = call.reader
        reader.need("ALTER")
        if reader.take("SESSION"):
            reader.need("SET")
            return self._alter_session(reader.options(), call)
        kind = self._kind(reader)
        if kind is None:
            return self._table_ddl(call)
        reader.take("IF", "EXISTS")
        name = self._name(kind, reader)
        if kind == "TASK" and reader.peek() in ("RESUME", "SUSPEND"):
            resumed = reader.identifier() == "RESUME"
            self._tasks.set_state(name, "started" if resumed else "suspended")
        elif kind == "PIPE":
            return self._alter_pipe(name, reader)
        elif kind in objects.RECORDED and reader.take("SET"):
            definition = self._catalog.get(kind, name)
            self._catalog.put(kind, name, definition | reader.options())
        else:
            reader.refuse("ALTER TASK … RESUME|SUSPEND, ALTER PIPE … SET|REFRESH")
        reader.finish()
        return status_sql("Statement executed successfully.")

    def _alter_session(self, options: dict[str, Any], call: Call) -> str:
        for option, value in options.items():
            utc = option == "TIMEZONE" and str(value).upper() in ("UTC", "ETC/UTC")
            if not utc and option != "QUERY_TAG":
                return call.reader.sql
        return status_sql("Statement executed successfully.")

    def _alter_pipe(self, name: Name, reader: Reader) -> str:
        if reader.take("REFRESH"):
            options = reader.options()
            prefix = options.pop("PREFIX", "")
            after = options.pop("MODIFIED_AFTER", "")
            if options:
                reader.refuse("PREFIX = '…', MODIFIED_AFTER = '…'")
            sent = self._pipes.refresh(name, prefix, after)
            return rows_sql(("File", "Status"), sent)
        reader.need("SET", "PIPE_EXECUTION_PAUSED", "=")
        paused = reader.take("TRUE")
        if not paused:
            reader.need("FALSE")
        reader.finish()
        self._pipes.pause(name, paused)
        return status_sql("Statement executed successfully.")

    def _describe(self, call: Call) -> str | None:
        reader = call.reader
        reader.identifier()
        kind = self._kind(reader)
        if kind is None:
            return reader.sql
        name = self._name(kind, reader)
        definition = self._catalog.get(kind, name)
        if kind in (STORAGE, NOTIFICATION):
            rows = integrations.describe(kind, name.name, definition)
        else:
            rows = [
                {"property": key, "property_value": value}
                for key, value in definition.items()
            ]
        return rows_sql(("property", "property_type", "property_value"), rows)

    def _show(self, call: Call) -> str:
        reader = call.reader
        reader.need("SHOW")
        words = []
        while not reader.done and reader.peek() not in ("LIKE", "IN"):
            words.append(reader.identifier())
        if " ".join(words) not in _SHOWN:
            return reader.sql
        kind, own = _SHOWN[" ".join(words)]
        pattern = reader.text() if reader.take("LIKE") else "%"
        home = self._scope(reader) if reader.take("IN") else ("", "")
        reader.finish()
        rows = [
            {key.lower(): value for key, value in definition.items()}
            | {"name": name.name, "database_name": name.database}
            | {"schema_name": name.schema}
            for name, definition in self._catalog.all(kind)
            if home[0] in ("", name.database) and home[1] in ("", name.schema)
        ]
        base = ("created_on", "name", "database_name", "schema_name")
        found = rows_sql((*base, *(column.lower() for column in own), "comment"), rows)
        like = exp.Literal.string(pattern).sql(dialect="snowflake")
        return f'SELECT * FROM ({found}) AS shown WHERE "name" ILIKE {like}'

    def _scope(self, reader: Reader) -> tuple[str, str]:
        if reader.take("ACCOUNT"):
            return "", ""
        if reader.take("DATABASE"):
            return reader.identifier(), ""
        reader.take("SCHEMA")
        return reader.schema_name()[:2]

    def _execute_task(self, call: Call) -> str:
        call.reader.need("EXECUTE")
        call.reader.need("TASK")
        name = call.reader.name()
        call.reader.finish()
        self._tasks.execute(name)
        return status_sql(f"Task {name.name} is scheduled to run immediately.")

    def _grant(self, call: Call) -> str:
        revoked = call.reader.peek() == "REVOKE"
        record = objects.read_grant(call.reader, self._catalog)
        if revoked:
            self._catalog.drop("GRANT", record)
        else:
            self._catalog.put("GRANT", record, {})
        return status_sql("Statement executed successfully.")

    def _kind(self, reader: Reader) -> str | None:
        if reader.take("INTEGRATION"):
            return STORAGE
        if reader.take("NOTIFICATION", "INTEGRATION"):
            return NOTIFICATION
        found = (kind for kind in (*_IN_SCHEMA, *_OF_ACCOUNT) if reader.take(kind))
        return next(found, None)

    def _name(self, kind: str, reader: Reader) -> Name:
        return reader.account_name() if kind in _OF_ACCOUNT else reader.name()
