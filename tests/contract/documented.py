"""Where Snowflake documents each piece of SQL that the sync sends it.

The local Snowflake takes more than the real one does, and the parsers that the tests
use do too. So nothing may be sent that is not listed here with the page that documents
it, and nothing may be listed that is not sent: `test_statements.py` holds both.
To add an entry is to have read its page: the order of arguments, what it makes of NULL,
what it does to the session's settings.

Pages are relative to https://docs.snowflake.com/en/.
"""

_FUNCTION = "sql-reference/functions/"
_QUERY = "sql-reference/constructs/"
_COMMAND = "sql-reference/sql/"
_SCRIPT = "sql-reference/snowflake-scripting/"
_COPY = _COMMAND + "copy-into-table"
_UNLOAD = _COMMAND + "copy-into-location"
_MERGE = _COMMAND + "merge"
_WINDOW = "sql-reference/functions-window-syntax"

# A name before an opening bracket; most have a page of their own name.
FUNCTIONS = {
    name: f"{_FUNCTION}{name.lower()}"
    for name in (
        "ARRAY_AGG",  # an empty array of no rows; leaves NULL out
        "ARRAY_GENERATE_RANGE",  # without its end
        "ARRAY_TO_STRING",
        "COALESCE",
        "CONVERT_TIMEZONE",  # with 2 arguments: TIMESTAMP_TZ in and out
        "COPY_HISTORY",
        "COUNT",
        "COUNT_IF",
        "CURRENT_ROLE",
        "CURRENT_TIMESTAMP",
        "DATEADD",
        "FLATTEN",
        "GREATEST",
        "IFF",
        "LAG",
        "LEAST",
        "LEFT",
        "LENGTH",
        "LOWER",
        "LPAD",
        "MAX",
        "MAX_BY",  # what to return, then what to compare; ignores NULL there
        "MD5",
        "MIN",
        "OBJECT_CONSTRUCT",  # leaves out what is NULL
        "PARSE_JSON",
        "REGEXP_REPLACE",  # replaces every match
        "REGEXP_SUBSTR",  # NULL without a match
        "REPLACE",
        "RIGHT",
        "ROW_NUMBER",
        "RPAD",  # cuts what is longer
        "SPLIT_PART",  # counts backwards from -1
        "SUBSTR",
        "SUM",
        "SYSDATE",  # UTC, TIMESTAMP_NTZ
        "TASK_HISTORY",
        "TO_JSON",
        "TRY_CAST",  # of text only
        "TRY_PARSE_JSON",
        "TRY_TO_BINARY",
        "TRY_TO_DATE",
    )
} | {
    "POWER": _FUNCTION + "pow",
    "SYSTEM$PIPE_STATUS": _FUNCTION + "system_pipe_status",
    "SYSTEM$STREAM_HAS_DATA": _FUNCTION + "system_stream_has_data",
    "TABLE": "sql-reference/functions-table",
    "TO_NUMBER": _FUNCTION + "to_decimal",  # X stands for a hexadecimal digit
    "TO_VARCHAR": _FUNCTION + "to_char",
    "TRY_TO_TIMESTAMP_NTZ": _FUNCTION + "try_to_timestamp",
}

# Arguments that are passed by name.
ARGUMENTS = {
    "INPUT": _FUNCTION + "flatten",
    "SCHEDULED_TIME_RANGE_START": _FUNCTION + "task_history",
    "START_TIME": _FUNCTION + "copy_history",
    "TABLE_NAME": _FUNCTION + "copy_history",
    "TASK_NAME": _FUNCTION + "task_history",
}

DATE_PARTS = dict.fromkeys(
    ("DAY", "MINUTE", "SECOND"), "sql-reference/functions-date-time"
)

TYPES = {
    "BINARY": "sql-reference/data-types-text",
    "BOOLEAN": "sql-reference/data-types-logical",
    "DATE": "sql-reference/data-types-datetime",
    "FLOAT": "sql-reference/data-types-numeric",
    "INTEGER": "sql-reference/data-types-numeric",
    "NUMBER": "sql-reference/data-types-numeric",
    "TIME": "sql-reference/data-types-datetime",
    "TIMESTAMP_NTZ": "sql-reference/data-types-datetime",
    "TIMESTAMP_TZ": "sql-reference/data-types-datetime",
    "VARCHAR": "sql-reference/data-types-text",
    "VARIANT": "sql-reference/data-types-semistructured",
}

METADATA = dict.fromkeys(
    ("METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER", "METADATA$START_SCAN_TIME"),
    "user-guide/querying-metadata",
)

FORMAT_OPTIONS = dict.fromkeys(
    (
        "COMPRESSION",
        "RECORD_DELIMITER",
        "FIELD_DELIMITER",
        "FIELD_OPTIONALLY_ENCLOSED_BY",
        "ESCAPE",
        "ESCAPE_UNENCLOSED_FIELD",
        "NULL_IF",
        "EMPTY_FIELD_AS_NULL",
        "TRIM_SPACE",
        "MULTI_LINE",
        "SKIP_HEADER",
        "SKIP_BLANK_LINES",
        "SKIP_BYTE_ORDER_MARK",
        "REPLACE_INVALID_CHARACTERS",
        "ERROR_ON_COLUMN_COUNT_MISMATCH",
        "ENCODING",
    ),
    _COMMAND + "create-file-format",
)

# Words that stand together. Of two that fit in one place the longer one counts, so that
# WHEN NOT MATCHED BY SOURCE, say, would leave words over that nothing documents.
CLAUSES = {
    # Queries
    "SELECT": _COMMAND + "select",
    "SELECT DISTINCT": _COMMAND + "select",
    "DISTINCT": _FUNCTION + "count",
    "AS": _COMMAND + "select",
    "WITH": _QUERY + "with",
    "FROM": _QUERY + "from",
    "FROM ( VALUES": _QUERY + "values",
    "JOIN": _QUERY + "join",
    "LEFT JOIN": _QUERY + "join",
    "ON": _QUERY + "join",
    "LATERAL": _QUERY + "join-lateral",
    "WHERE": _QUERY + "where",
    "GROUP BY": _QUERY + "group-by",
    "HAVING": _QUERY + "having",
    "QUALIFY": _QUERY + "qualify",
    "ORDER BY": _QUERY + "order-by",
    "DESC": _QUERY + "order-by",
    "NULLS FIRST": _QUERY + "order-by",
    "NULLS LAST": _QUERY + "order-by",
    "LIMIT": _QUERY + "limit",
    "UNION ALL": "sql-reference/operators-query",
    # Expressions
    "AND": "sql-reference/operators-logical",
    "OR": "sql-reference/operators-logical",
    "NOT": "sql-reference/operators-logical",
    "NULL": "sql-reference/ternary-logic",
    "TRUE": "sql-reference/data-types-logical",
    "FALSE": "sql-reference/data-types-logical",
    "IS NULL": _FUNCTION + "is-null",
    "IS NOT NULL": _FUNCTION + "is-null",
    "BETWEEN": _FUNCTION + "between",
    "LIKE": _FUNCTION + "like",
    "IN (": _FUNCTION + "in",
    "CASE": _FUNCTION + "case",
    "WHEN": _FUNCTION + "case",
    "THEN": _FUNCTION + "case",
    "ELSE": _FUNCTION + "case",
    "END": _FUNCTION + "case",
    "OVER (": _WINDOW,
    "PARTITION BY": _WINDOW,
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING": _WINDOW,
    # Changes
    "INSERT INTO": _COMMAND + "insert",
    "DELETE FROM": _COMMAND + "delete",
    "USING (": _COMMAND + "delete",
    "MERGE INTO": _MERGE,
    "WHEN MATCHED AND": _MERGE,
    "WHEN MATCHED THEN UPDATE SET": _MERGE,
    "THEN UPDATE SET": _MERGE,
    "WHEN NOT MATCHED THEN INSERT (": _MERGE,
    "VALUES (": _MERGE,
    "BEGIN TRANSACTION": _COMMAND + "begin",
    "COMMIT": _COMMAND + "commit",
    "ROLLBACK": _COMMAND + "rollback",
    # Loads; FILES and FORCE are not for pipes
    "COPY INTO": _COPY,
    "PATTERN =": _COPY,  # of what stands after a pipe's path, as a whole
    "FILE_FORMAT = ( TYPE = CSV": _COPY,
    "FILE_FORMAT = ( TYPE = JSON": _COPY,
    "COMPRESSION = NONE": _COPY,
    "RECORD_DELIMITER =": _COPY,
    "FIELD_DELIMITER =": _COPY,
    "FIELD_OPTIONALLY_ENCLOSED_BY =": _COPY,
    "ESCAPE = NONE": _COPY,
    "ESCAPE_UNENCLOSED_FIELD = NONE": _COPY,
    "NULL_IF = ( )": _COPY,
    "EMPTY_FIELD_AS_NULL = TRUE": _COPY,
    "TRIM_SPACE = FALSE": _COPY,
    "MULTI_LINE = TRUE": _COPY,
    "SKIP_HEADER =": _COPY,
    "SKIP_BLANK_LINES = FALSE": _COPY,
    "SKIP_BYTE_ORDER_MARK = FALSE": _COPY,
    "REPLACE_INVALID_CHARACTERS = FALSE": _COPY,
    "ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE": _COPY,
    "ENCODING =": _COPY,
    "FILES = (": _COPY,
    "FORCE = TRUE": _COPY,
    "ON_ERROR = ABORT_STATEMENT": _COPY,
    "ON_ERROR = SKIP_FILE": _COPY,
    # An unload; its COPY INTO, FILE_FORMAT and COMPRESSION are those of loads
    "OVERWRITE = TRUE": _UNLOAD,
    "SINGLE = TRUE": _UNLOAD,
    # Objects
    "CREATE OR REPLACE STREAM": _COMMAND + "create-stream",
    "ON TABLE": _COMMAND + "create-stream",
    "APPEND_ONLY = TRUE": _COMMAND + "create-stream",
    "ALTER TASK": _COMMAND + "alter-task",
    "RESUME": _COMMAND + "alter-task",
    "EXECUTE TASK": _COMMAND + "execute-task",
    "ALTER PIPE": _COMMAND + "alter-pipe",
    "SET PIPE_EXECUTION_PAUSED = FALSE": _COMMAND + "alter-pipe",
    "REFRESH": _COMMAND + "alter-pipe",
    "SHOW STREAMS LIKE": _COMMAND + "show-streams",
    "SHOW PIPES LIKE": _COMMAND + "show-pipes",
    "SHOW TASKS LIKE": _COMMAND + "show-tasks",
    "IN SCHEMA": _COMMAND + "show-tasks",
    "USE ROLE": _COMMAND + "use-role",
    # What an administrator runs once
    "CREATE ROLE IF NOT EXISTS": _COMMAND + "create-role",
    "COMMENT =": _COMMAND + "create-role",
    "CREATE USER IF NOT EXISTS": _COMMAND + "create-user",
    "TYPE = SERVICE": _COMMAND + "create-user",
    "DEFAULT_ROLE =": _COMMAND + "create-user",
    "RSA_PUBLIC_KEY =": _COMMAND + "create-user",
    "GRANT ROLE": _COMMAND + "grant-role",
    "TO USER": _COMMAND + "grant-role",
    "TO ROLE": _COMMAND + "grant-privilege",
    "GRANT CREATE DATABASE": _COMMAND + "grant-privilege",
    "CREATE WAREHOUSE": _COMMAND + "grant-privilege",
    "CREATE ROLE": _COMMAND + "grant-privilege",
    "CREATE INTEGRATION ON ACCOUNT": _COMMAND + "grant-privilege",
    "GRANT EXECUTE TASK": _COMMAND + "grant-privilege",
    "EXECUTE MANAGED TASK ON ACCOUNT": _COMMAND + "grant-privilege",
    "GRANT USAGE ON WAREHOUSE": _COMMAND + "grant-privilege",
    "WITH GRANT OPTION": _COMMAND + "grant-privilege",
    # Scripts
    "DECLARE": _SCRIPT + "declare",
    "CURSOR FOR": _SCRIPT + "declare",
    "BEGIN": _SCRIPT + "begin",
    "FOR": _SCRIPT + "for",
    "IN": _SCRIPT + "for",
    "DO": _SCRIPT + "for",
    "END FOR": _SCRIPT + "for",
    "EXCEPTION WHEN OTHER THEN": _SCRIPT + "exception",
    "sqlerrm": "developer-guide/snowflake-scripting/exceptions",
    "RAISE": _SCRIPT + "raise",
    "EXECUTE IMMEDIATE": _COMMAND + "execute-immediate",
}
