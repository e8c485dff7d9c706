"""How a stack runs, as frozen groups of `Pulumi.<stack>.yaml`: the rest is where."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from infra.setting_types import Count, Email, HttpsUrl, Text


class AlarmSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told of alarms, and how often Snowflake says how far it is.

    Without subscribers the alarms stand all the same, and tell nobody.
    """

    email: Annotated[
        tuple[Email, ...],
        Meta(max_length=20, description="list of addresses, each confirms by itself"),
    ] = ()
    https: Annotated[
        tuple[HttpsUrl, ...],
        Meta(max_length=20, description="list of endpoints that confirm and receive"),
    ] = ()
    runbook: Annotated[
        Text, Meta(description="where docs/RUNBOOK.md is read; alarms link to it")
    ] = "docs/RUNBOOK.md"
    status_minutes: Annotated[
        int,
        Meta(
            ge=5,
            le=60,
            description="minutes between two looks of Snowflake at itself, 5 to 60",
        ),
    ] = 15


class FunctionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size and manners of the exporter."""

    memory: Annotated[int, Meta(ge=128, le=10240, description="128 to 10240 MB")] = 256
    # The lease of a run outlives a function of at most five minutes.
    timeout: Annotated[int, Meta(ge=60, le=300, description="60 to 300 s")] = 300
    runtime: Annotated[
        Literal["python3.11", "python3.12", "python3.13", "python3.14"],
        Meta(description="python3.11 to python3.14, as the bundle was built"),
    ] = "python3.13"
    architecture: Annotated[
        Literal["x86_64", "arm64"], Meta(description="x86_64 or arm64")
    ] = "x86_64"
    max_concurrency: Annotated[
        Count | None, Meta(description="most exports at once; none: no limit")
    ] = None
    load_concurrency: Annotated[
        int, Meta(ge=2, le=1000, description="most chunks of loads at once, 2 to 1000")
    ] = 4
    brake_horizon_seconds: Annotated[
        int,
        Meta(ge=300, description="age of an open transaction that loads wait for"),
    ] = 1800
    brake_connections_percent: Annotated[
        int,
        Meta(ge=1, le=100, description="share of used connections that loads wait for"),
    ] = 80
    chunk_bytes: Annotated[
        int,
        Meta(
            ge=1_000_000,
            le=2_000_000_000,
            description="wanted size of an export file, 1,000,000 to 2,000,000,000",
        ),
    ] = 200_000_000
    heartbeat_seconds: Annotated[
        int, Meta(ge=60, description="longest silence between manifests, from 60 s")
    ] = 3600
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Meta(description="DEBUG, INFO, WARNING or ERROR"),
    ] = "INFO"
    log_retention_days: Annotated[
        Literal[7, 14, 30, 60, 90, 180, 365],
        Meta(description="7, 14, 30, 60, 90, 180 or 365"),
    ] = 90
