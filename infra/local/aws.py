"""Emulated AWS: MiniStack with IAM enforced, and clients that know its keys.

Lambda functions run as processes of this machine. What they see is only the
standard library and their own bundle: MiniStack starts them with the interpreter
it runs in, so it runs in one whose site-packages are empty.
"""

import importlib.util
import json
import os
import shutil
import threading
import venv
from functools import lru_cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from infra.local.parts import AWS_ACCOUNT, AWS_REGION, HOST, Command, LocalStack, Part
from runtime.contract.errors import ConfigError

# Snowflake's own queues carry this prefix too; its user may touch no others.
SNOWPIPE_QUEUE_PREFIX = "sf-snowpipe-"
# MiniStack takes this key for the account's root and does not check the secret.
_ROOT = "test"
_SERVER = Path(__file__).with_name("aws_server.py")

_ROLES = f"arn:aws:iam::{AWS_ACCOUNT}:role/*"
_QUEUES = f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:{SNOWPIPE_QUEUE_PREFIX}*"
# Who there is, and what each may do. Which roles can be assumed is decided by the
# roles' own trust policies; the emulator wants the identity's consent as well. Whether
# Snowflake may subscribe to a topic is for the topic's own policy to say.
USERS: dict[str, list[tuple[list[str], str]]] = {
    "admin": [(["*"], "*")],
    "aurora": [(["sts:AssumeRole"], _ROLES)],
    "snowflake": [
        (["sts:AssumeRole"], _ROLES),
        (["sqs:*"], _QUEUES),
    ],
    "vault": [(["iam:GetRole", "iam:GetUser"], "*")],
}


def user_arn(who: str) -> str:
    """Return the ARN of one of the users, as trust policies name it."""
    return f"arn:aws:iam::{AWS_ACCOUNT}:user/{who}"


def package_folder(package: str) -> Path:
    """Return where a package of the local extra is installed, without importing it.

    Raises:
        ConfigError: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "is not installed",
            subject=f"package {package}",
            remedy="install the project with its extra 'local'",
        )
    return Path(spec.origin).parent


def _prepare(stack: LocalStack) -> None:
    folder = stack.part_dir("aws")
    # Functions unpacked by the process before, if there was one.
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    for name in ("tmp", "s3", "state"):
        (folder / name).mkdir(exist_ok=True)
    venv.create(folder / "python", symlinks=True, with_pip=False)


def _command(stack: LocalStack) -> Command:
    folder = stack.part_dir("aws")
    python = folder / "python" / "bin" / "python"
    packages = package_folder("ministack").parent
    retry = stack.fact("lambda_async_retry_seconds", {"base": 1, "max": 30})
    return Command(
        # -P: the folder of that file has nothing to do with MiniStack's imports.
        argv=(str(python), "-P", str(_SERVER), str(packages)),
        # Every function inherits this environment: nothing secret belongs here.
        env={
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(stack.port("aws")),
            "MINISTACK_HOST": HOST,
            "MINISTACK_ACCOUNT_ID": AWS_ACCOUNT,
            "MINISTACK_REGION": AWS_REGION,
            "AUTH": "true",
            "LAMBDA_EXECUTOR": "local",
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(retry["base"]),
            "LAMBDA_ASYNC_RETRY_MAX_SECONDS": str(retry["max"]),
            "SCHEDULED_RULES": stack.fact("scheduled_rules", ".*"),
            # Stopped in good order, the part keeps its state for the next start.
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folder / "s3"),
            "LOG_LEVEL": "WARNING",
        },
    )


def _is_ready(stack: LocalStack) -> bool:
    line = HTTPConnection(HOST, stack.port("aws"), timeout=2)
    try:
        line.request("GET", "/_ministack/health")
        return line.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        line.close()


def _bootstrap(stack: LocalStack) -> None:
    """Make the users; one that still has its key from before keeps it."""
    stack.put_fact("aws_account", AWS_ACCOUNT)
    stack.put_fact("aws_region", AWS_REGION)
    keys = stack.fact("aws_keys", {})
    iam = _client("iam", stack.url("aws"), _ROOT, _ROOT)
    known = {user["UserName"] for user in iam.list_users()["Users"]}
    for who, grants in USERS.items():
        if who in known and who in keys:
            continue
        if who not in known:
            iam.create_user(UserName=who)
        iam.put_user_policy(
            UserName=who, PolicyName="own", PolicyDocument=_document(grants)
        )
        key = iam.create_access_key(UserName=who)["AccessKey"]
        keys[who] = {
            "access_key_id": key["AccessKeyId"],
            "secret_access_key": key["SecretAccessKey"],
        }
    stack.put_fact("aws_keys", keys)


def _document(grants: list[tuple[list[str], str]]) -> str:
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resource}
        for actions, resource in grants
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def client(stack: LocalStack, service: str, who: str = "admin") -> Any:
    """Return a boto3 client of the emulated AWS; one per user, shared by threads.

    Args:
        stack: A stack whose part `aws` has been bootstrapped.
        service: Name of the service, for example `s3`.
        who: One of `USERS`.

    Raises:
        ConfigError: The stack knows no keys of that user.
    """
    keys = stack.fact("aws_keys", {})
    if who not in keys:
        raise ConfigError(
            "has no AWS keys of this user",
            subject="local stack",
            got=who,
            allowed=", ".join(keys) or "none before the part 'aws' is ready",
            remedy="run `aurora-sync local up` again",
        )
    own = keys[who]
    return _client(
        service, stack.url("aws"), own["access_key_id"], own["secret_access_key"]
    )


def assumed_client(
    stack: LocalStack,
    service: str,
    who: str,
    role_arn: str,
    external_id: str | None = None,
) -> Any:
    """Return a boto3 client in the role, assumed anew by that user.

    Args:
        stack: A stack whose part `aws` has been bootstrapped.
        service: Name of the service, for example `s3`.
        who: The user that assumes the role.
        role_arn: The role.
        external_id: What the role's trust policy asks for, if it does.

    Raises:
        botocore.exceptions.ClientError: The trust policy or the user's own policy
            refuses; told as AWS tells it.
    """
    extra = {} if external_id is None else {"ExternalId": external_id}
    session = client(stack, "sts", who).assume_role(
        RoleArn=role_arn, RoleSessionName=who, **extra
    )["Credentials"]
    return _client(
        service,
        stack.url("aws"),
        session["AccessKeyId"],
        session["SecretAccessKey"],
        session["SessionToken"],
    )


# boto3 sessions are not safe across threads while they make a client; clients are.
_making = threading.Lock()
# A developer's own profile and settings have no say here.
_session = boto3.Session(
    botocore_session=botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
)


def _client(
    service: str, endpoint: str, key_id: str, secret: str, token: str | None = None
) -> Any:
    with _making:
        return _made_client(service, endpoint, key_id, secret, token)


@lru_cache(maxsize=64)
def _made_client(
    service: str, endpoint: str, key_id: str, secret: str, token: str | None
) -> Any:
    make: Any = _session.client
    # A synchronous call of a function lasts as long as that may, and must not be sent
    # twice.
    once = service == "lambda"
    return make(
        service,
        endpoint_url=endpoint,
        region_name=AWS_REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(
            connect_timeout=3,
            read_timeout=330 if once else 60,
            retries={"total_max_attempts": 1} if once else {"mode": "standard"},
            max_pool_connections=32,
            # No proxy of the surrounding environment stands before 127.0.0.1.
            proxies={},
        ),
    )


PART = Part(
    name="aws",
    ports=("aws",),
    prepare=_prepare,
    command=_command,
    is_ready=_is_ready,
    bootstrap=_bootstrap,
)
