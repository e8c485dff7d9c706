"""Each deployed right is needed; its loss is told by the step that needs it.

One right is taken from the deployed policies at a time: exactly the step that needs it
fails, says so, moves nothing, and goes on when the right is back. The table of
permissions says which rights are held here: those that the local parts ask for. The
others are held by decisions on the program's documents (tests/infra).
"""

import json
import re
from contextlib import ExitStack
from typing import Any

import pytest

from infra.local.adapter.landscape import VAULT_ADMIN
from infra.local.vault import vault_client
from infra.permissions import ROWS
from runtime.contract.aurora_sql import EXPORTER_ROLE, admin_statements
from runtime.contract.records import fingerprint
from runtime.exporter.chunks import Chunk, Plan
from tests.integration.conftest import Sandbox
from tests.integration.losing import in_aurora, without_action, without_path
from tests.integration.refusing import Scene, role_name, until
from tests.integration.shop import shop


@pytest.fixture(scope="module")
def scene(sandbox: Sandbox) -> Scene:
    return shop(sandbox).orders


# Right -> code of the error, words of its message, files that may be left.
EXPORTER = {
    "dynamodb:UpdateItem": ("ledger", ("refuses UpdateItem", "{ledger}", "{key}"), 0),
    "dynamodb:Query": ("ledger", ("refuses Query", "{ledger}", "{key}"), 0),
    "s3:ListBucket": ("lake", ("refuses to list", "{manifests}"), 0),
    "s3:GetObject": ("lake", ("refuses to get", "{manifests}"), 0),
    "s3:PutObject": ("lake", ("refuses to put", "{manifests}"), 1),
    # Of chunks alone: what Lambda puts down is not asked for by the local parts.
    "sqs:SendMessage": ("queue", ("SQS does not take", "{loads}"), 0),
}
AURORA = {
    "s3:PutObject": ("export", ("AccessDenied", "could not write to S3", "{exports}"))
}
# See test_reading_rights, and test_alarms for the status.
SNOWFLAKE = ("s3:GetObject", "s3:ListBucket", "s3:PutObject")
# See test_alarms.
CHECKER = ("s3:GetObject", "dynamodb:BatchGetItem")


@pytest.mark.parametrize(
    ("role", "taken"),
    [
        ("exporter", EXPORTER),
        ("aurora", AURORA),
        ("snowflake", SNOWFLAKE),
        ("checker", CHECKER),
    ],
)
def test_every_action_is_taken_away_here_or_held_by_the_graph(
    scene: Scene, role: str, taken: Any
) -> None:
    iam, name = scene.sandbox.aws("iam"), role_name(scene.roles[role])
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    deployed = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    allowed = {
        action
        for each in deployed["Statement"]
        if each["Effect"] == "Allow"
        for action in each["Action"]
    }
    held = [
        (action, held.by)
        for row in ROWS
        if row.policy.name == role
        for action, held in row.actions.items()
    ]
    assert allowed == {action for action, _ in held}
    assert set(taken) == {action for action, by in held if by == "behaviour"}


# --- the exporter's and Aurora's rights in AWS


OF_A_LOAD = ("dynamodb:Query", "sqs:SendMessage")


@pytest.mark.parametrize("action", EXPORTER)
def test_without_one_right_of_the_exporter_its_step_fails(
    scene: Scene, action: str
) -> None:
    code, words, files = EXPORTER[action]
    links = 1
    if action in OF_A_LOAD:
        begin_load(scene, f"by-hand-{action.partition(':')[0]}")
    if action == "s3:GetObject":
        # As after a crash between manifest and ledger.
        scene.put(seq=scene.state.seq - 1)
        links = 2
    names = {
        "ledger": scene.settings.ledger_table,
        "key": "local#shop.orders",
        "manifests": f"s3://{scene.settings.bucket}/{scene.keys.manifests}",
        "loads": scene.settings.load_queue_url,
    }
    with without_action(scene.sandbox, role_name(scene.roles["exporter"]), action):
        scene.refused(
            code,
            *(word.format(**names) for word in words),
            files=files,
            noted=action != "dynamodb:UpdateItem",
        )
    if action in OF_A_LOAD:
        # Its chunks go through the queue.
        assert scene.sandbox.tick(scene.table)["status"] == "more"
        until(lambda: scene.state.load is None, "the load has ended")
        until(lambda: scene.state.lease_run == "", "its last worker has ended")
        until(lambda: not scene.leased_users(), "its workers have ended")
    scene.recovers(links)


def begin_load(scene: Scene, plan_id: str) -> None:
    """Leave a load of two chunks to the next run; a new id, or its chunks are done."""
    [(high,)] = scene.sandbox.aurora(
        "SELECT (%s::timestamptz + INTERVAL '1 millisecond')::text",
        scene.state.watermark,
    )
    plan = Plan(
        id=plan_id,
        high=high,
        chunks=(Chunk(hi="5"), Chunk(lo="5")),
        contract=fingerprint(scene.table),
    )
    scene.put(load=json.dumps(plan.to_ledger()))


@pytest.mark.parametrize("action", AURORA)
def test_without_one_right_of_aurora_the_export_fails(
    scene: Scene, action: str
) -> None:
    code, words = AURORA[action]
    exports = f"s3://{scene.settings.bucket}/{scene.keys.exports}"
    with without_action(scene.sandbox, role_name(scene.roles["aurora"]), action):
        scene.refused(code, *(word.format(exports=exports) for word in words))
    scene.recovers()


def test_without_its_role_aurora_does_not_export(scene: Scene) -> None:
    role, local = scene.roles["aurora"], scene.sandbox.local
    local.put_fact("aurora_role_arn", None)
    try:
        scene.refused("export", "shop.orders", "credentials", "s3Export role")
    finally:
        local.put_fact("aurora_role_arn", role)
    scene.recovers()


# --- rights at Vault

COURTESIES = ("sys/leases/revoke", "auth/token/revoke-self")


def credentials_path(scene: Scene) -> str:
    settings = scene.settings
    return f"{settings.vault_database_mount}/creds/{settings.vault_database_role}"


def test_every_path_at_vault_is_taken_away_here(scene: Scene) -> None:
    system: Any = vault_client(scene.sandbox.local).sys
    policy = system.read_policy(scene.settings.vault_database_role)["data"]["rules"]
    paths = set(re.findall(r'^path "(.*)"', policy, re.M))
    assert paths == {credentials_path(scene), *COURTESIES}


def test_without_the_path_of_the_credentials_none_are_given(scene: Scene) -> None:
    path = credentials_path(scene)
    with without_path(scene, path):
        scene.refused("credential", "Vault", "database credentials", path, "permission")
    scene.recovers()


def test_a_role_that_is_not_bound_cannot_log_in(scene: Scene) -> None:
    settings, client = scene.settings, vault_client(scene.sandbox.local)
    path = f"auth/{settings.vault_auth_mount}/role/{settings.vault_role}"
    client.write_data(path, data={"bound_iam_principal_arn": [scene.roles["aurora"]]})
    try:
        scene.refused(
            "credential", "Vault", "login", settings.vault_role, "does not belong"
        )
    finally:
        bound = {"bound_iam_principal_arn": [scene.roles["exporter"]]}
        client.write_data(path, data=bound)
    scene.recovers()


@pytest.mark.parametrize(
    ("paths", "users", "tokens"),
    [
        # Vault takes a lease back with the login that it was given to.
        (COURTESIES[:1], 0, 0),
        (COURTESIES[1:], 0, 1),
        (COURTESIES, 1, 1),
    ],
)
def test_what_cannot_be_given_back_fails_no_run(
    scene: Scene, paths: tuple[str, ...], users: int, tokens: int
) -> None:
    """Lease and login end by themselves; a run that has done its work is done."""
    logins: Any = vault_client(scene.sandbox.local).auth.token
    before = set(logins.list_accessors()["data"]["keys"])
    left: set[str] = set()
    try:
        with ExitStack() as lost:
            for path in paths:
                lost.enter_context(without_path(scene, path))
            assert scene.sandbox.tick(scene.table)["status"] == "done"
        left = set(logins.list_accessors()["data"]["keys"]) - before
        assert (len(scene.leased_users()), len(left)) == (users, tokens)
    finally:
        for accessor in left:
            logins.revoke_accessor(accessor)
        scene.take_back_leases()
    scene.recovers()


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (
            f'REVOKE "{EXPORTER_ROLE}" FROM "{VAULT_ADMIN}"',
            f'GRANT "{EXPORTER_ROLE}" TO "{VAULT_ADMIN}" WITH ADMIN OPTION',
        ),
        (
            f'ALTER ROLE "{VAULT_ADMIN}" NOCREATEROLE',
            f'ALTER ROLE "{VAULT_ADMIN}" CREATEROLE',
        ),
    ],
    ids=["membership", "CREATEROLE"],
)
def test_vaults_own_database_user_needs_its_rights(
    scene: Scene, change: str, back: str
) -> None:
    words = ("database credentials", "permission denied", "rights of its own database")
    with in_aurora(scene.sandbox, change, back):
        scene.refused("vault_unavailable", *words)
    scene.recovers()


# --- rights in Aurora

GRANTS = {
    "pg_read_all_stats": ("cannot see other sessions", "pg_read_all_stats"),
    "USAGE ON SCHEMA aws_s3": ("permission denied for schema aws_s3",),
    "USAGE ON SCHEMA aws_commons": ("permission denied for schema aws_commons",),
    "EXECUTE ON FUNCTION aws_s3.query_export_to_s3("
    "text, aws_commons._s3_uri_1, text, text)": (
        "permission denied for function query_export_to_s3",
    ),
    "EXECUTE ON FUNCTION aws_commons.create_s3_uri(text, text, text)": (
        "permission denied for function create_s3_uri",
    ),
    'USAGE ON SCHEMA "shop"': ("permission denied for schema shop",),
    'SELECT ON TABLE "shop"."orders"': (
        "permission denied for table orders",
        "shop.orders",
    ),
}


def test_every_grant_is_taken_away_here(scene: Scene) -> None:
    given: set[str] = set()
    for statement in admin_statements([scene.table.spec]):
        if grant := re.fullmatch(r"GRANT (.*) TO .*", statement):
            kind, comma, rest = grant[1].partition(" aws_s3, ")
            given |= {f"{kind} aws_s3", f"{kind} {rest}"} if comma else {kind}
    assert given == set(GRANTS)


@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: grant.partition("(")[0])
def test_without_one_grant_the_run_fails(scene: Scene, grant: str) -> None:
    change = f'REVOKE {grant} FROM "{EXPORTER_ROLE}"'
    with in_aurora(scene.sandbox, change, f'GRANT {grant} TO "{EXPORTER_ROLE}"'):
        scene.refused("source", "Aurora", *GRANTS[grant])
    scene.recovers()
