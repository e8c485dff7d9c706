"""The adapter without parts: what it renders, remembers, unwraps and refuses."""

import json
import signal
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs

from infra.local.adapter import aws_identity, snowflake
from infra.local.adapter.cloud import (
    HANDLERS,
    LocalCloud,
    plain,
    shown,
)
from infra.local.adapter.deployment import _stop_vanished
from infra.local.adapter.record import RETAINED, Resource, resources, write
from infra.local.adapter.retained import adopted, note, retained
from infra.local.adapter.site import Site
from infra.local.parts import LocalError, LocalStack

URNS = Path(__file__).parents[1] / "golden" / "urns.txt"
SECRET = {"4dabf18193072939515e22adb298388d": "1b4", "value": "hidden"}
TABLE = "snowflake:index/table:Table"


class FakeSessions:
    """Remembers statements; answers those that are known."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        self.answers = answers
        self.statements: list[str] = []

    def run(self, statement: str) -> list[dict[str, Any]]:
        self.statements.append(statement)
        known = (rows for word, rows in self.answers.items() if word in statement)
        return next(known, [])


def site(tmp_path: Path, sessions: FakeSessions, **fields: Any) -> Site:
    return Site(
        stack=LocalStack(tmp_path),
        sessions=sessions,  # type: ignore[arg-type]
        **fields,
    )


@pytest.fixture(name="cloud")
def _cloud(tmp_path: Path) -> LocalCloud:
    return LocalCloud(site(tmp_path, FakeSessions()), lambda kind, name: None)


def resource(typ: str, name: str, inputs: dict[str, Any]) -> MockResourceArgs:
    return MockResourceArgs(typ=typ, name=name, inputs=inputs, custom=True)


ROLE = "snowflake:index/accountRole:AccountRole"


def test_every_resource_of_the_program_has_a_handler() -> None:
    types = {line.split("::")[2].rpartition("$")[2] for line in _urns()}
    made = {
        typ for typ in types if not typ.startswith(("pulumi:", "aurora-sync:index:"))
    }
    assert len(made) > 40
    assert made - set(HANDLERS) == set()


def _urns() -> list[str]:
    return [line for line in URNS.read_text().splitlines() if line.startswith("urn:")]


def test_a_type_without_handler_is_named(cloud: LocalCloud) -> None:
    with pytest.raises(LocalError, match="aws:ec2/instance:Instance"):
        cloud.new_resource(resource("aws:ec2/instance:Instance", "x", {}))
    with pytest.raises(LocalError, match="aws:ec2/getAmi:getAmi"):
        cloud.call(MockCallArgs(token="aws:ec2/getAmi:getAmi", args={}, provider=""))


def test_an_input_that_is_missing_is_named(cloud: LocalCloud) -> None:
    with pytest.raises(LocalError, match="AccountRole x: .*no name"):
        cloud.new_resource(resource(ROLE, "x", {}))


def test_a_component_is_nothing_to_make(cloud: LocalCloud) -> None:
    args = MockResourceArgs(typ="aurora-sync:index:X", name="x", inputs={})
    assert cloud.new_resource(args) == ("x-id", {})
    assert cloud.made == {}


def test_one_name_twice_is_refused(cloud: LocalCloud) -> None:
    cloud.new_resource(resource(ROLE, "x", {"name": "R"}))
    with pytest.raises(LocalError, match="same name"):
        cloud.new_resource(resource(ROLE, "x", {"name": "R"}))


def test_inputs_go_back_as_they_came_so_that_secrets_stay_secret(
    cloud: LocalCloud,
) -> None:
    _, outputs = cloud.new_resource(resource(ROLE, "x", {"name": "R", "c": SECRET}))
    assert outputs["c"] == SECRET
    assert cloud.made[ROLE, "x"].inputs["c"] == "[secret]"


def test_handlers_see_secrets_and_whole_numbers() -> None:
    assert plain({"a": [SECRET, 2.0, 2.5, True], "b": {"c": 900.0}}) == {
        "a": ["hidden", 2, 2.5, True],
        "b": {"c": 900},
    }
    assert isinstance(plain(900.0), int)


def test_the_record_holds_paths_and_no_secrets() -> None:
    archive = pulumi.FileArchive("bundle.zip")
    assert shown({"code": archive, "key": SECRET}) == {
        "code": "bundle.zip",
        "key": "[secret]",
    }


def test_the_record_is_read_back_and_is_private(tmp_path: Path) -> None:
    one = Resource(
        type=ROLE, name="x", id="R", inputs={"name": "R"}, options=(RETAINED,)
    )
    write(tmp_path, [one])
    assert resources(tmp_path) == [one]
    assert (tmp_path / "resources.json").stat().st_mode & 0o077 == 0


def test_providers_tags_reach_the_handlers(cloud: LocalCloud) -> None:
    tags = json.dumps({"tags": {"aurora-sync:stack": "local"}})
    cloud.new_resource(resource("pulumi:providers:aws", "aws", {"defaultTags": tags}))
    assert cloud._site.tag_list({"tags": {"own": "1"}}) == [
        {"Key": "aurora-sync:stack", "Value": "local"},
        {"Key": "own", "Value": "1"},
    ]


# --- AWS


def test_a_role_of_rds_admits_the_local_aurora_and_no_other_role_does() -> None:
    def trust(service: str) -> list[Any]:
        statement = {"Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        rendered = aws_identity._trust(json.dumps({"Statement": [statement]}))
        found: list[Any] = json.loads(rendered)["Statement"]
        return found

    assert len(trust("lambda.amazonaws.com")) == 1
    [_, added] = trust("rds.amazonaws.com")
    assert added["Sid"] == "LocalEmulatorOnly"
    assert added["Principal"] == {"AWS": "arn:aws:iam::111122223333:user/aurora"}


def test_a_cluster_role_for_another_feature_is_refused(tmp_path: Path) -> None:
    inputs = {
        "dbClusterIdentifier": "c",
        "roleArn": "arn:aws:iam::1:role/r",
        "featureName": "s3Import",
    }
    with pytest.raises(Exception, match="s3Export"):
        aws_identity._cluster_role(site(tmp_path, FakeSessions()), "x", inputs)


# --- Snowflake

LANDING: dict[str, Any] = {
    "database": "A",
    "schema": "LANDING",
    "name": "T",
    "columns": [{"name": "C1", "type": "VARCHAR", "nullable": True}],
}


def changed(tmp_path: Path, **types: str) -> list[str]:
    """Deploy a table that had C1 and C2 with these columns; return what changed it."""
    known = [{"COLUMN_NAME": name} for name in ("C1", "C2", "BY_HAND")]
    sessions = FakeSessions(INFORMATION_SCHEMA=known)
    columns = [
        {"name": name, "type": "NUMBER(5,0)", "nullable": True} for name in ("C1", "C2")
    ]
    before = {(TABLE, "t"): {"id": "", "inputs": {**LANDING, "columns": columns}}}
    wanted = [{"name": name, "type": kind} for name, kind in types.items()]
    inputs = {**LANDING, "columns": wanted}
    snowflake._table(site(tmp_path, sessions, before=before), "t", inputs)
    return sessions.statements[1:]


def test_a_tables_columns_follow_what_is_declared(tmp_path: Path) -> None:
    """As the provider does it; what nobody declared stays."""
    assert changed(tmp_path, C1="NUMBER(9,0)", Ä="TEXT") == [
        "ALTER TABLE A.LANDING.T ALTER COLUMN C1 SET DATA TYPE NUMBER(9,0)",
        "ALTER TABLE A.LANDING.T DROP COLUMN C2",
        'ALTER TABLE A.LANDING.T ADD COLUMN "Ä" TEXT',
    ]


def test_a_table_takes_another_name_with_its_rows(tmp_path: Path) -> None:
    """In its schema; in another one the provider makes another table."""

    def run(**place: str) -> list[str]:
        sessions = FakeSessions(INFORMATION_SCHEMA=[{"COLUMN_NAME": "C1"}])
        before = {(TABLE, "t"): {"id": "", "inputs": LANDING}}
        own = site(tmp_path, sessions, before=before)
        snowflake._table(own, "t", {**LANDING, **place})
        return [each for each in sessions.statements if each.startswith("ALTER")]

    assert run(name="U") == ["ALTER TABLE A.LANDING.T RENAME TO A.LANDING.U"]
    assert run(schema="OTHER") == run(database="B", name="U") == run() == []


def left(tmp_path: Path, *options: str, **now: dict[str, Any]) -> list[Any]:
    """Return what a deployment notes as left behind."""
    own = '"A"."LANDING"."T"'
    before = Resource(type=TABLE, name="t", id=own, inputs=LANDING, options=options)
    made = {
        (TABLE, name): Resource(type=TABLE, name=name, id=name, inputs=inputs)
        for name, inputs in now.items()
    }
    note(site(tmp_path, FakeSessions()), {(TABLE, "t"): before}, made)
    return [own for _, own in retained(LocalStack(tmp_path))]


def test_what_is_retained_is_noted_when_it_leaves_or_moves(tmp_path: Path) -> None:
    own = '"A"."LANDING"."T"'
    assert left(tmp_path, t=LANDING) == left(tmp_path) == []
    assert left(tmp_path, RETAINED, t={**LANDING, "name": "U"}) == []
    assert left(tmp_path, RETAINED, t={**LANDING, "schema": "S"}) == [own]
    assert left(tmp_path, RETAINED) == [own]


def adopting(
    tmp_path: Path, import_id: str | None, there: list[str], known: bool = True
) -> dict[str, Any] | None:
    sessions = FakeSessions(
        INFORMATION_SCHEMA=[{"COLUMN_NAME": name} for name in there]
    )
    entry = {(TABLE, '"A"."LANDING"."T"'): LANDING} if known else {}
    own = site(tmp_path, sessions, retained=entry)
    return adopted(own, TABLE, "t", LANDING, import_id)


def test_what_stayed_is_refused_until_it_is_imported(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="already exists.*aurora-sync adopt"):
        adopting(tmp_path, None, ["C1"])
    # Somebody dropped it; or a deployment was killed before it was recorded.
    assert adopting(tmp_path, None, []) is None
    assert adopting(tmp_path, None, ["C1"], known=False) is None


def test_an_import_reads_what_stands(tmp_path: Path) -> None:
    found = adopting(tmp_path, "A|LANDING|T", ["BY_HAND", "C1"])
    assert found is not None
    assert found["inputs"]["columns"] == [
        {"name": "BY_HAND", "type": ""},
        LANDING["columns"][0],
    ]
    with pytest.raises(LocalError, match="not there"):
        adopting(tmp_path, "A|LANDING|T", [])
    with pytest.raises(LocalError, match="by an id"):
        adopting(tmp_path, "A.LANDING.T", ["C1"])


@pytest.mark.parametrize("name", ["SALES", "PUBLIC"])
def test_a_schema_that_stayed_is_imported_as_well(tmp_path: Path, name: str) -> None:
    kind, own = "snowflake:index/schema:Schema", f'"A"."{name}"'
    inputs = {"database": "A", "name": name}
    sessions = FakeSessions(SCHEMAS=[{"name": name}])
    known = site(tmp_path, sessions, retained={(kind, own): inputs})
    assert adopted(known, kind, "s", inputs, own) == {"id": own, "inputs": inputs}
    if name == "PUBLIC":
        assert adopted(known, kind, "s", inputs, "") is None
        return
    with pytest.raises(LocalError, match="already exists, as this schema stayed"):
        adopted(known, kind, "s", inputs, "")


def test_a_type_that_does_not_only_grow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="column C1 would change its type"):
        changed(tmp_path, C1="VARCHAR(9)", C2="NUMBER(5,0)")


def test_a_table_that_is_gone_is_made_as_declared(tmp_path: Path) -> None:
    sessions = FakeSessions()
    columns = [{"name": "C1", "type": "NUMBER(5,0)", "nullable": True}]
    before = {(TABLE, "t"): {"id": "", "inputs": {**LANDING, "columns": columns}}}
    snowflake._table(site(tmp_path, sessions, before=before), "t", LANDING)
    assert sessions.statements[1:] == [
        "CREATE TABLE IF NOT EXISTS A.LANDING.T (C1 VARCHAR)"
    ]


PIPE = {
    "database": "A",
    "schema": "LANDING",
    "name": "P",
    "copyStatement": "COPY INTO T FROM @S/t/",
    "autoIngest": True,
    "awsSnsTopicArn": "arn:aws:sns:eu-west-1:1:files",
}


def test_a_pipe_is_made_again_only_for_another_text_or_a_lost_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again, it forgets which files it has loaded."""
    heard = [True, True, False]
    monkeypatch.setattr(snowflake, "_hears", lambda *_: heard.pop(0))
    standing = {
        "name": "P",
        "definition": PIPE["copyStatement"],
        "notification_channel": "arn:queue",
    }
    sessions = FakeSessions(SHOW=[standing])

    def times_made() -> int:
        sessions.statements.clear()
        _, outputs = snowflake._pipe(site(tmp_path, sessions), "p", PIPE)
        assert outputs["notificationChannel"] == "arn:queue"
        return sum("CREATE OR REPLACE PIPE" in each for each in sessions.statements)

    assert times_made() == 0
    standing["definition"] = "COPY INTO T FROM @S/older/"
    assert times_made() == 1
    standing["definition"] = PIPE["copyStatement"]
    assert [times_made(), times_made()] == [0, 1]


def test_older_versions_of_a_pipe_go_and_no_other_pipe(tmp_path: Path) -> None:
    names = ("P_PIPE", "P_PIPE_00000001", "P_PIPE_0000000A", "P_PIPE_0000000A_PIPE")
    sessions = FakeSessions(SHOW=[{"name": name} for name in (*names, "Q_PIPE")])
    own = {**PIPE, "name": "P_PIPE_0000000A"}
    snowflake.drop_older_pipes(site(tmp_path, sessions), own)
    assert sessions.statements[1:] == [
        "DROP PIPE A.LANDING.P_PIPE",
        "DROP PIPE A.LANDING.P_PIPE_00000001",
    ]


def test_names_and_values_are_quoted(tmp_path: Path) -> None:
    sessions = FakeSessions()
    inputs = {
        "database": "A",
        "schema": "odd schema",
        "name": "S",
        "url": "s3://it's/",
        "storageIntegration": "odd one",
    }
    HANDLERS["snowflake:index/stageExternalS3:StageExternalS3"](
        site(tmp_path, sessions), "s", inputs
    )
    assert sessions.statements == [
        "CREATE OR REPLACE STAGE A.\"odd schema\".S URL = 's3://it''s/' "
        'STORAGE_INTEGRATION = "odd one"'
    ]


def test_what_left_the_program_is_stopped_once_and_keeps_its_data(
    tmp_path: Path,
) -> None:
    sessions = FakeSessions(SHOW=[{"name": "P"}])
    pipe = "snowflake:index/pipe:Pipe"
    before = {
        (pipe, "p"): Resource(type=pipe, name="p", id="P", inputs=PIPE),
        (TABLE, "t"): Resource(type=TABLE, name="t", id="T", inputs=LANDING),
    }
    assert _stop_vanished(site(tmp_path, sessions), before, {}) == ("Pipe p",)
    assert sessions.statements[-1] == (
        "ALTER PIPE A.LANDING.P SET PIPE_EXECUTION_PAUSED = TRUE"
    )
    assert not any("DROP" in statement for statement in sessions.statements)


def test_an_interruption_ends_the_program_between_two_resources(
    cloud: LocalCloud,
) -> None:
    before = signal.getsignal(signal.SIGINT)
    network = resource("aws:ec2/vpc:Vpc", "network", {"cidrBlock": "10.0.0.0/24"})
    with pytest.raises(KeyboardInterrupt):
        with cloud.interruptible():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(LocalError, match="after the interruption"):
                cloud.new_resource(network)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
    assert cloud.made == {}
