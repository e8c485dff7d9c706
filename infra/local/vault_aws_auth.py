"""Vault's `aws` auth method (type iam) played on a `jwt` mount of OpenBao.

OpenBao has no `aws` method. Here a mount of type aws is a jwt mount of the same
path whose only signer is this process: a login that has passed Vault's checks gets
a JWT of 30 seconds, and OpenBao mints the token by the role's own policies and
limits. All state stands in OpenBao: the client configuration in the mount's
options, whom a role binds in the role's bound claims.
Source: https://developer.hashicorp.com/vault/api-docs/auth/aws
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import jwt

from infra.local.parts import LocalStack
from infra.local.vault_binding import Binding, look_up_in
from infra.local.vault_sts import SignedRequest
from infra.local.vault_wire import Answer, OpenBao, Refusal, Request, SigningKey

_JWT_SECONDS = 30
# Vault's own pattern of a name; nothing else may enter a path asked as root.
_ROLE_NAME = re.compile(r"\w([\w.-]*\w)?", re.ASCII)
# Marks a jwt mount as one of type aws and holds its client configuration.
_OPTION = "aws"
_CLIENT_FIELDS = {
    "iam_server_id_header_value": "",
    "max_retries": -1,
    "sts_endpoint": "",
    "sts_region": "",
    "use_sts_region_from_client": False,
}
_ROLE_FIELDS = {"auth_type", "bound_iam_principal_arn", "resolve_aws_unique_ids"}
# They mean the same to a jwt role; OpenBao keeps and obeys them.
_TOKEN_FIELDS = {
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_max_ttl",
    "token_no_default_policy",
    "token_num_uses",
    "token_period",
    "token_policies",
    "token_ttl",
    "token_type",
}
_CAPABILITY = {"GET": "read", "POST": "update", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True, kw_only=True)
class _Mount:
    """A mount of type aws: its path and client configuration."""

    path: str
    config: Mapping[str, Any]

    @property
    def region(self) -> str | None:
        """Region of the STS endpoint in use; None for whatever the client uses."""
        if self.config.get("use_sts_region_from_client"):
            return None
        if region := self.config.get("sts_region"):
            return str(region)
        host = urlsplit(self.config.get("sts_endpoint", "")).hostname or ""
        parts = host.split(".")
        return parts[1] if len(parts) == 4 else "us-east-1"


class AwsAuth:
    """Answers what concerns mounts of type aws.

    Args:
        stack: The stack, whose IAM and STS are asked.
        bao: Its OpenBao.
        key: Signs the logins for OpenBao.
    """

    def __init__(self, stack: LocalStack, bao: OpenBao, key: SigningKey) -> None:
        self._sts_port = stack.port("aws")
        self._look_up = look_up_in(stack)
        self._bao = bao
        self._key = key

    def answer(self, request: Request) -> Answer | None:
        """Answer a request, or return None when it does not concern the method.

        Raises:
            Refusal: What Vault refuses too, or what is not played here.
        """
        route = request.route
        if route == "sys/auth" or route.startswith("sys/auth/"):
            return self._mounts(request)
        if not route.startswith("auth/") or route.startswith("auth/token/"):
            return None
        mount = self._mount_of(route)
        return None if mount is None else self._within(mount, request)

    def _mounts(self, request: Request) -> Answer | None:
        if request.method == "GET":
            answer = self._bao.send(request)
            if answer.status != 200:
                return answer
            told = _told_as_aws(json.loads(answer.body))
            return replace(answer, body=json.dumps(told).encode())
        if not request.writes or request.fields().get("type") != "aws":
            return None
        fields = request.fields() | {"type": "jwt", "options": {_OPTION: "{}"}}
        answer = self._bao.send(request.with_fields(fields))
        if answer.status < 400:
            self._bao.call(
                "POST",
                f"{request.route.removeprefix('sys/')}/config",
                jwt_validation_pubkeys=[self._key.public],
            )
        return answer

    def _mount_of(self, route: str) -> _Mount | None:
        for path, entry in self._bao.call("GET", "sys/auth")["data"].items():
            options = entry["options"] or {}
            if _OPTION in options and route.startswith(f"auth/{path}"):
                return _Mount(path=path[:-1], config=json.loads(options[_OPTION]))
        return None

    def _within(self, mount: _Mount, request: Request) -> Answer:
        rest = request.route.removeprefix(f"auth/{mount.path}/")
        if rest == "login" and request.writes:
            return self._login(mount, request)
        if rest == "config/client" and request.method in _CAPABILITY:
            return self._client_config(mount, request)
        if rest == "role":
            return self._bao.send(request)
        if rest.startswith("role/") and request.method in _CAPABILITY:
            return self._role(mount, rest.removeprefix("role/"), request)
        raise Refusal(
            404, f"{request.method} {request.route} is not played by the local Vault"
        )

    def _client_config(self, mount: _Mount, request: Request) -> Answer:
        self._check_capability(request)
        if request.method == "GET":
            if not mount.config:
                return Refusal(404).answer()
            return Answer.of(200, {"data": _CLIENT_FIELDS | dict(mount.config)})
        config: dict[str, Any] = {}
        if request.writes:
            config = dict(mount.config) | request.fields()
            _check_known(config, set(_CLIENT_FIELDS))
        self._bao.call(
            "POST",
            f"sys/auth/{mount.path}/tune",
            options={_OPTION: json.dumps(config)},
        )
        return Answer.of(204)

    def _check_capability(self, request: Request) -> None:
        """Refuse what the token's policies do not grant on this path.

        OpenBao cannot judge the request itself: its jwt mount has no such path.
        """
        route = request.route
        if not request.token:
            raise Refusal(403, "permission denied")
        try:
            held = self._bao.call(
                "POST", "sys/capabilities", token=request.token, paths=[route]
            )["data"][route]
        except Refusal as refusal:
            if refusal.status in (502, 503, 504):
                raise
            held = []
        if not {"root", _CAPABILITY[request.method]} & set(held):
            raise Refusal(403, "permission denied")

    def _role(self, mount: _Mount, name: str, request: Request) -> Answer:
        if request.writes:
            fields = self._jwt_role(mount, name, request.fields())
            return self._bao.send(request.with_fields(fields))
        answer = self._bao.send(request)
        if request.method != "GET" or answer.status != 200:
            return answer
        found = json.loads(answer.body)
        binding = Binding.parse(found["data"]["bound_claims"]["binding"])
        found["data"] = {
            "auth_type": "iam",
            "bound_iam_principal_arn": binding.bound_iam_principal_arn,
            "resolve_aws_unique_ids": binding.resolve_aws_unique_ids,
            **{key: found["data"][key] for key in _TOKEN_FIELDS},
        }
        return replace(answer, body=json.dumps(found).encode())

    def _jwt_role(
        self, mount: _Mount, name: str, fields: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the jwt role that stands for this role of type iam.

        What an update leaves out stays as it is, as in Vault.
        """
        fields.pop("role", None)  # hvac repeats the name of the path
        _check_known(fields, _ROLE_FIELDS | _TOKEN_FIELDS)
        if fields.get("auth_type", "iam") != "iam":
            raise Refusal(400, f"auth_type {fields['auth_type']} is not played here")
        binding = Binding.of(fields, self._binding(mount, name), self._look_up)
        return {key: fields[key] for key in _TOKEN_FIELDS & set(fields)} | {
            "role_type": "jwt",
            "user_claim": "sub",
            "allowed_redirect_uris": [],
            "bound_claims": {"binding": binding.text()},
        }

    def _binding(self, mount: _Mount, name: str) -> Binding | None:
        """Return whom a role binds, or None when there is no such role."""
        if not _ROLE_NAME.fullmatch(name):
            return None
        try:
            role = self._bao.call("GET", f"auth/{mount.path}/role/{name}")
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return Binding.parse(role["data"]["bound_claims"]["binding"])

    def _login(self, mount: _Mount, request: Request) -> Answer:
        fields = request.fields()
        signed = SignedRequest.of(fields)
        if server_id := mount.config.get("iam_server_id_header_value"):
            signed.check_server_id(server_id)
        caller = signed.caller(self._sts_port, mount.region)
        name = str(fields.get("role") or caller.friendly_name)
        binding = self._binding(mount, name)
        if binding is None:
            raise Refusal(400, f'entry for role "{name}" not found')
        if not binding.includes(caller, self._look_up):
            raise Refusal(
                400,
                f'IAM Principal "{caller.arn}" does not belong to the role "{name}"',
            )
        now = int(time.time())
        ticket = jwt.encode(
            {
                "sub": caller.canonical_arn,
                "iat": now,
                "exp": now + _JWT_SECONDS,
                # A role that was changed meanwhile refuses the ticket.
                "binding": binding.text(),
            },
            self._key.private,
            algorithm=self._key.algorithm,
        )
        return self._bao.send(request.with_fields({"role": name, "jwt": ticket}))


def _check_known(fields: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise Refusal(
            400,
            f"not played by the local Vault: {', '.join(unknown)};"
            f" allowed: {', '.join(sorted(known))}",
        )


def _told_as_aws(value: Any) -> Any:
    """Return a list of mounts in which ours stand as what they are to clients."""
    if not isinstance(value, dict):
        return value
    if _OPTION in (value.get("options") or {}):
        value = value | {"type": "aws", "options": None}
    return {key: _told_as_aws(entry) for key, entry in value.items()}
