"""Whom a role of Vault's `aws` auth method binds, by Vault's own rules."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.aws import client
from infra.local.parts import LocalStack
from infra.local.vault_sts import Caller
from infra.local.vault_wire import Refusal

# ARN of a user or role -> its ARN with path, its unique id.
LookUp = Callable[[str], tuple[str, str]]

_DEFAULTS: dict[str, Any] = {
    "bound_iam_principal_arn": (),
    "resolve_aws_unique_ids": True,
}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The bound principals of one role.

    Attributes:
        bound_iam_principal_arn: ARNs as written; a trailing `*` is a wildcard.
        resolve_aws_unique_ids: Whether the unique ids count instead of the ARNs:
            a principal made anew under its old name is then another one.
        ids: Unique ids that the ARNs had when they were written.
    """

    bound_iam_principal_arn: tuple[str, ...]
    resolve_aws_unique_ids: bool
    ids: tuple[str, ...]

    @classmethod
    def of(
        cls, fields: Mapping[str, Any], before: "Binding | None", look_up: LookUp
    ) -> "Binding":
        """Return the binding that a write of these fields makes.

        Args:
            fields: Fields of the role; what is left out stays as it was.
            before: The role's binding so far.
            look_up: Asks IAM for principals.

        Raises:
            Refusal: Nobody would be bound, or a principal does not exist.
        """
        known = asdict(before) if before else dict(_DEFAULTS)
        known |= {name: fields[name] for name in _DEFAULTS if name in fields}
        arns = known["bound_iam_principal_arn"]
        if isinstance(arns, str):
            arns = [arn.strip() for arn in arns.split(",")]
        if not arns:
            raise Refusal(
                400, "at least be one bound parameter should be specified on the role"
            )
        resolve = known["resolve_aws_unique_ids"]
        if not isinstance(resolve, bool):
            raise Refusal(400, "resolve_aws_unique_ids is true or false")
        exact = [arn for arn in arns if resolve and not arn.endswith("*")]
        return cls(
            bound_iam_principal_arn=tuple(arns),
            resolve_aws_unique_ids=resolve,
            ids=tuple(look_up(arn)[1] for arn in exact),
        )

    @classmethod
    def parse(cls, text: str) -> "Binding":
        """Return the binding of that text."""
        fields = json.loads(text)
        return cls(
            bound_iam_principal_arn=tuple(fields["bound_iam_principal_arn"]),
            resolve_aws_unique_ids=fields["resolve_aws_unique_ids"],
            ids=tuple(fields["ids"]),
        )

    def text(self) -> str:
        """Return the binding as one text, the same for the same binding."""
        return json.dumps(asdict(self))

    def includes(self, caller: Caller, look_up: LookUp) -> bool:
        """Tell whether a principal is bound, in one of Vault's three ways.

        By unique id, by ARN when ids are not resolved, or by a trailing `*` on the
        ARN with its path.
        """
        arns = self.bound_iam_principal_arn
        if not self.resolve_aws_unique_ids and caller.canonical_arn in arns:
            return True
        prefixes = tuple(arn[:-1] for arn in arns if arn.endswith("*"))
        if not self.ids and not prefixes:
            return False
        full_arn, unique_id = look_up(caller.canonical_arn)
        return unique_id in self.ids or full_arn.startswith(prefixes)


def look_up_in(stack: LocalStack) -> LookUp:
    """Return a function that asks the stack's IAM, as Vault's own identity.

    MiniStack's STS gives a function's session the role's name where AWS gives the
    unique id; therefore IAM is asked at each login, too.
    """

    def look_up(arn: str) -> tuple[str, str]:
        iam = client(stack, "iam", "vault")
        kind, _, path = arn.rpartition(":")[2].partition("/")
        name = path.rpartition("/")[2]
        try:
            if kind == "role":
                found = iam.get_role(RoleName=name)["Role"]
                return found["Arn"], found["RoleId"]
            found = iam.get_user(UserName=name)["User"]
            return found["Arn"], found["UserId"]
        except (ClientError, BotoCoreError) as error:
            raise Refusal(
                400, f'unable to resolve ARN "{arn}" to internal ID: {error}'
            ) from error

    return look_up
