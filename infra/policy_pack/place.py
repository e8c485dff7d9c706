"""Where a stack is, and so what the names in the table's templates stand for in it.

What only AWS or Snowflake know, or the stack's settings alone, is held to its form: the
id of a key, the cluster, Snowflake's users and external ids, mounts at Vault.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infra.permissions import resources
from infra.permissions.row import Policy
from infra.stack import PROJECT, resource_name

# Never an account's root, nor a user of every name.
_FOREIGN_USER = r"arn:aws:iam::[0-9]{12}:user/[\w+=,.@/-]+"


@dataclass(frozen=True)
class Place:
    """A stack in its account and region."""

    stack: str
    account_id: str
    region: str

    def holder(self, policy: Policy) -> str:
        """Return the name of what has a policy; empty when that has no name."""
        if policy == resources.BUCKET:
            return self._bucket
        return resource_name(self.stack, policy.part) if policy.part else ""

    def known(self, policy: Policy) -> Mapping[str, str]:
        """Return what names stand for in a policy, as regular expressions.

        Args:
            policy: One of the table's; `{queue_arn}` is another queue in each.
        """
        holder = self.holder(policy)
        exactly = {
            "stack": self.stack,
            "account_id": self.account_id,
            "region": self.region,
            "bucket_arn": f"arn:aws:s3:::{self._bucket}",
            "ledger_arn": self._arn("dynamodb", f"table/{self._named('ledger')}"),
            "dead_letters_arn": self._arn("sqs", self._named("dead-letters")),
            "load_queue_arn": self._arn("sqs", self._named("load")),
            "queue_arn": self._arn("sqs", holder),
            "function_arn": self._arn("lambda", f"function:{holder}"),
            "function_name": holder,
            "log_group_arn": self._log(holder),
            "topic_arn": self._arn(
                "sns", holder if policy == resources.TOPIC else self._named("alarms")
            ),
            "alarms_arn": self._arn("cloudwatch", f"alarm:{self._prefix}"),
            "rules_arn": self._arn("events", f"rule/{self._prefix}"),
            "rule_arn": self._arn("events", f"rule/{self._prefix}checker"),
            "database_role": self._named("exporter"),
        }
        logs = (self._log(self._named(part)) for part in ("exporter", "checker"))
        return {name: re.escape(value) for name, value in exactly.items()} | {
            "log_group_arns": "|".join(map(re.escape, logs)),
            "key_arn": re.escape(self._arn("kms", "key/")) + r"[\w-]+",
            "cluster_arn": re.escape(self._arn("rds", "cluster:")) + r"[a-z0-9-]+",
            "user_arn": _FOREIGN_USER,
            "subscriber_arns": _FOREIGN_USER,
            "external_id": r"[\w+=,.@:/-]+",
            "database_mount": r"[\w.-]+(?:/[\w.-]+)*",
        }

    @property
    def _bucket(self) -> str:
        return resource_name(self.stack, f"{self.account_id}-{self.region}", 63)

    @property
    def _prefix(self) -> str:
        return f"{PROJECT}_{self.stack}_"

    def _named(self, part: str) -> str:
        return resource_name(self.stack, part)

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def _log(self, function: str) -> str:
        return self._arn("logs", f"log-group:/aws/lambda/{function}")
