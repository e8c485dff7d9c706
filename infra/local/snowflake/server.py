"""The process of the local Snowflake: `python -m infra.local.snowflake.server DIR`.

Answers Snowflake's own protocol over http, for the Python connector and the like.
"""

import gzip
import hmac
import json
import logging
import sys
from pathlib import Path
from typing import Any

import uvicorn
import fakesnow.server as web
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.dialect import parse_one
from snowflake.connector.errors import ProgrammingError
from sqlglot import Expr, exp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.parts import HOST, LocalStack
from infra.local.snowflake import repairs
from infra.local.snowflake.engine import Engine

_WRONG_PASSWORD = "390100"
_INTERNAL = "300002"
_SERVER_ERROR = 500
_DRAIN_SECONDS = 5
_log = logging.getLogger(__name__)


def install(engine: Engine) -> None:
    """Let every statement that comes over http pass through the engine."""
    execute = FakeSnowflakeCursor.execute

    def asked_first(
        cursor: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any
    ) -> FakeSnowflakeCursor:
        if not kwargs.get("server"):
            return execute(cursor, command, *args, **kwargs)
        engine.execute(
            cursor, command, lambda sql: execute(cursor, sql, *args, **kwargs)
        )
        return cursor

    setattr(FakeSnowflakeCursor, "execute", asked_first)
    setattr(web, "parse_one", _parse_if_known)
    web.shared_fs = engine.snow


def _parse_if_known(sql: str) -> Expr:
    """Parse a statement only to learn its kind; ours may be no SQL to sqlglot."""
    try:
        return parse_one(sql)
    except ProgrammingError:
        return exp.Command(this="UNKNOWN")


def application(password: str) -> Starlette:
    """Return the web application; it lets in who knows the password."""

    async def login(request: Request) -> Response:
        body = await request.body()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        given = str(json.loads(body)["data"].get("PASSWORD", ""))
        if not hmac.compare_digest(given.encode(), password.encode()):
            message = "Incorrect username or password was specified."
            answer = {"success": False, "code": _WRONG_PASSWORD, "message": message}
            return JSONResponse({**answer, "data": {}})
        return await web.login_request(request)

    async def query(request: Request) -> Response:
        try:
            answer = await web.query_request(request)
        except Exception as error:
            _log.exception("statement failed")
            return _failure(f"{type(error).__name__}: {error}")
        if answer.status_code == _SERVER_ERROR:
            return _failure(json.loads(bytes(answer.body))["message"])
        return answer

    async def health(_: Request) -> Response:
        return Response("ready")

    ours = [
        Route("/session/v1/login-request", login, methods=["POST"]),
        Route("/queries/v1/query-request", query, methods=["POST"]),
        Route("/health", health),
    ]
    paths = {route.path for route in ours}
    return Starlette(
        routes=ours + [route for route in web.routes if route.path not in paths]
    )


def _failure(message: str) -> Response:
    """Answer what fakesnow cannot do; a status of 500 the connector would retry."""
    state = {"errorCode": _INTERNAL, "sqlState": "XX000"}
    answer = {"success": False, "code": _INTERNAL, "message": message, "data": state}
    return JSONResponse(answer)


def main(folder: str) -> None:
    """Serve the stack in that folder until SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    stack = LocalStack(Path(folder))
    repairs.apply()
    engine = Engine(stack)
    install(engine)
    engine.start()
    try:
        uvicorn.run(
            application(stack.secret("snowflake_password")),
            host=HOST,
            port=stack.port("snowflake"),
            log_level="warning",
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
    finally:
        engine.stop()


if __name__ == "__main__":
    main(sys.argv[1])
