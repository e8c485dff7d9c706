"""What syncs need of Aurora as a whole: the writer, the exporter's rights, clocks.

Rights are asked for the exporter's role, not for the operator who asks.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

from psycopg2 import sql

from runtime.contract.aurora_sql import EXPORTER_ROLE, EXTENSION, admin_statements
from runtime.contract.names import quote_postgres
from runtime.contract.specs import TableSpec
from runtime.ops.findings import FINE, Report, Site
from runtime.ops.source import told
from runtime.ops.suggest import server_zone

# The exporter's sessions set client_connection_check_interval, which 13 lacks.
_OLDEST, _OLDEST_NAME = 140000, "14"
# A check that takes longer than this on a busy server is not worth its answer.
_STATEMENT_SECONDS = 10
# Younger transactions are ordinary traffic.
_OPEN_SECONDS = 60
_EXPORT = "aws_s3.query_export_to_s3(text, aws_commons._s3_uri_1, text, text)"
_URI = "aws_commons.create_s3_uri(text, text, text)"

_SERVER = """
SELECT pg_catalog.pg_is_in_recovery(),
  pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
  pg_catalog.current_setting('server_version'), pg_catalog.current_database(),
  pg_catalog.to_regrole(%s) IS NOT NULL,
  pg_catalog.to_regprocedure(%s) IS NOT NULL
"""
_RIGHTS = """
SELECT pg_catalog.pg_has_role(%(role)s, 'pg_read_all_stats', 'USAGE'),
  pg_catalog.has_schema_privilege(%(role)s, 'aws_s3', 'USAGE')
    AND pg_catalog.has_schema_privilege(%(role)s, 'aws_commons', 'USAGE'),
  pg_catalog.has_function_privilege(%(role)s, %(export)s, 'EXECUTE'),
  pg_catalog.has_function_privilege(%(role)s, %(uri)s, 'EXECUTE')
"""
_CONNECT = "SELECT pg_catalog.has_database_privilege(%s, %s, 'CONNECT')"
# Set for everybody, or for one user or database only.
_UNTRACKED = """
SELECT pg_catalog.current_setting('track_activities'),
  ARRAY(SELECT CASE
      WHEN s.setrole = 0 THEN pg_catalog.format('DATABASE %I', d.datname)
      WHEN s.setdatabase = 0 THEN pg_catalog.format('ROLE %I', r.rolname)
      ELSE pg_catalog.format('ROLE %I IN DATABASE %I', r.rolname, d.datname) END
    FROM pg_catalog.pg_db_role_setting AS s
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
    WHERE 'track_activities=off' = ANY (s.setconfig)
      AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database()))
"""
# Ages as seconds: the driver does not read intervals as our sessions print them.
_SESSIONS = """
SELECT a.pid, a.usename, a.application_name, a.state,
  EXTRACT(EPOCH FROM pg_catalog.statement_timestamp() - a.xact_start)
FROM pg_catalog.pg_stat_activity AS a
LEFT JOIN pg_catalog.pg_roles AS u ON u.oid = a.usesysid
WHERE a.datname = pg_catalog.current_database()
  AND a.backend_type <> 'autovacuum worker' AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < pg_catalog.statement_timestamp() - %s
  AND NOT (a.application_name LIKE 'aurora-sync %%' AND u.rolvaliduntil IS NOT NULL)
ORDER BY a.xact_start
LIMIT 10
"""
_PREPARED = """
SELECT gid, owner, EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - prepared)
FROM pg_catalog.pg_prepared_xacts
WHERE database = pg_catalog.current_database()
ORDER BY prepared
LIMIT 10
"""


@contextmanager
def asking(
    report: Report, session: Any, check: str, subject: str, ok: str = FINE
) -> Iterator[Any]:
    """Run one check in a short transaction of its own.

    Args:
        report: Where its findings go.
        session: A session made by `runtime.ops.source.connect`.
        check: Name of the check.
        subject: What it is about.
        ok: The fact when nothing is found.

    Yields:
        A cursor.
    """
    with report.check(check, subject, ok), told(subject):
        try:
            with closing(session.cursor()) as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'")
                yield cursor
        finally:
            if not session.closed:
                session.rollback()


def examine_source(
    report: Report, session: Any, specs: Sequence[TableSpec], site: Site
) -> None:
    """Check what is common to all tables.

    Args:
        report: Where findings go.
        session: A session made by `runtime.ops.source.connect`.
        specs: The tables asked for.
        site: The stack.
    """
    has_role = has_extension = False
    with asking(report, session, "server", "Aurora") as cursor:
        has_role, has_extension = _server(report, cursor, server_zone(session))
    if has_role and has_extension:
        with asking(report, session, "rights", f"role {EXPORTER_ROLE}") as cursor:
            _rights(report, cursor)
    with report.check("export role", "Aurora cluster"):
        _export_role(report, site)
    with asking(report, session, "track_activities", "Aurora", "on") as cursor:
        _tracking(report, cursor)
    longest = min((spec.max_holdback for spec in specs), default=timedelta.max)
    with asking(
        report, session, "open transactions", "Aurora", "none is older than a minute"
    ) as cursor:
        _transactions(report, cursor, longest)


def _server(report: Report, cursor: Any, zone: str) -> tuple[bool, bool]:
    """Judge the server; return whether role and extension are there."""
    cursor.execute(_SERVER, (quote_postgres(EXPORTER_ROLE), _EXPORT))
    reader, number, version, database, has_role, has_extension = cursor.fetchone()
    if reader:
        report.add(
            "error",
            "is a reader: the watermark is only safe on the writer",
            "set the cluster's writer endpoint as aurora.host of the stack, and PGHOST",
        )
    if number < _OLDEST:
        report.add(
            "error",
            f"PostgreSQL {version} is too old; {_OLDEST_NAME} is the oldest",
            "upgrade the cluster",
        )
    if not has_extension:
        report.aurora(
            "error",
            "extension aws_s3 is missing: nothing can be exported",
            EXTENSION,
        )
    if not has_role:
        report.aurora(
            "error",
            f"role {EXPORTER_ROLE} is missing: Vault cannot make its members",
            *admin_statements(()),
        )
    kind = "reader" if reader else "writer"
    report.add(
        "ok", f"PostgreSQL {version}, {kind}, database {database}, time zone {zone}"
    )
    return has_role, has_extension


def _rights(report: Report, cursor: Any) -> None:
    cursor.execute(_RIGHTS, {"role": EXPORTER_ROLE, "export": _EXPORT, "uri": _URI})
    _, *grants = admin_statements(())
    facts = (
        "is no member of pg_read_all_stats: it cannot see open transactions, and no "
        "watermark is safe",
        "has no USAGE on the schemas aws_s3 and aws_commons",
        "may not EXECUTE aws_s3.query_export_to_s3",
        "may not EXECUTE aws_commons.create_s3_uri",
    )
    for held, fact, grant in zip(cursor.fetchone(), facts, grants, strict=True):
        if not held:
            report.aurora("error", fact, grant)
    database = cursor.connection.info.dbname
    cursor.execute(_CONNECT, (EXPORTER_ROLE, database))
    if not cursor.fetchone()[0]:
        role = quote_postgres(EXPORTER_ROLE)
        report.aurora(
            "error",
            f"may not CONNECT to database {database}",
            f"GRANT CONNECT ON DATABASE {quote_postgres(database)} TO {role}",
        )


def _export_role(report: Report, site: Site) -> None:
    arn = site.export_role()
    if arn is None:
        report.shell(
            "error",
            "has no role for the feature s3Export: Aurora cannot write to S3",
            site.deploy,
        )
    else:
        report.add("ok", f"exports with {arn}")


def _tracking(report: Report, cursor: Any) -> None:
    cursor.execute(_UNTRACKED)
    setting, places = cursor.fetchone()
    fact = "is off {}: each of its sessions holds the watermark where the session began"
    for place in places:
        report.aurora(
            "warning",
            fact.format(f"for {place}"),
            f"ALTER {place} RESET track_activities",
        )
    if setting != "on" and not places:
        report.add(
            "warning",
            fact.format("on this server"),
            "set track_activities to on in the cluster's parameter group",
        )


def _transactions(report: Report, cursor: Any, longest: timedelta) -> None:
    """Name who holds the watermark back now; nothing is lost meanwhile."""
    cursor.execute(_SESSIONS, (timedelta(seconds=_OPEN_SECONDS),))
    for pid, user, application, state, age in cursor.fetchall():
        who = ", ".join(each for each in (f"user {user}", application, state) if each)
        report.aurora(
            "warning" if age > longest.total_seconds() else "note",
            f"pid {pid} ({who}) has been in a transaction for {_short(age)} and holds "
            "the watermarks back; end it if it is forgotten",
            f"SELECT pg_catalog.pg_terminate_backend({pid})",
        )
    cursor.execute(_PREPARED)
    for gid, owner, age in cursor.fetchall():
        name = sql.Literal(gid).as_string(cursor)
        report.aurora(
            "warning" if age > _OPEN_SECONDS else "note",
            f"prepared transaction {gid} (user {owner}) is {_short(age)} old: while it "
            "exists no watermark moves. Roll it back, or COMMIT PREPARED if its other "
            "half has committed",
            f"ROLLBACK PREPARED {name}",
        )


def _short(age: Any) -> str:
    """Whole seconds are exact enough."""
    return str(timedelta(seconds=round(age)))
