"""Rules that settings of one group must obey together."""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from infra.run_settings import FunctionSettings
from infra.stack_settings import AuroraSettings, NetworkSettings, VaultSettings
from runtime.contract.errors import ConfigError

# Source: https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html, the
# characters that every service takes
_TAG_NAME = re.compile(r"(?!aws:)(?!aurora-sync:)[\w .:/=+@-]{1,128}\Z", re.IGNORECASE)
_TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}\Z")

_FOR_OWN_VPC = ("availability_zones", "peers")
_FOR_EXISTING_VPC = ("subnet_ids", "route_table_ids", "sqs_security_group_id")


def group_problems(group: Struct, where: str) -> Iterator[ConfigError]:
    """Find what is wrong with a group though each of its values is right.

    Args:
        group: The settings of one group.
        where: File and group, the subject of the messages.

    Yields:
        One error per problem.
    """

    def wrong(key: str, fact: str, allowed: str) -> ConfigError:
        return ConfigError(
            f"key {key!r} {fact}",
            subject=where,
            got=msgspec.to_builtins(getattr(group, key)),
            allowed=allowed,
            remedy="correct the setting",
        )

    for kind, rules in (
        (NetworkSettings, _network_problems),
        (AuroraSettings, _aurora_problems),
        (VaultSettings, _vault_problems),
        (FunctionSettings, _function_problems),
    ):
        if isinstance(group, kind):
            yield from rules(group, wrong)


Wrong = Callable[[str, str, str], ConfigError]


def tag_problems(tags: Mapping[str, str], where: str) -> Iterator[ConfigError]:
    """Find tags that AWS or the stack itself would refuse.

    Args:
        tags: Values by name.
        where: File and key, the subject of the messages.

    Yields:
        One error per problem.
    """
    for name, value in tags.items():
        if not _TAG_NAME.match(name):
            fact = "is not a name of ours to give"
            allowed = "1 to 128 letters, digits and _ . : / = + - @ or space, not "
            allowed += "beginning with aws: or aurora-sync:"
        elif not _TAG_VALUE.match(value):
            fact = "has a value that AWS does not take"
            allowed = "at most 256 letters, digits and _ . : / = + - @ or space"
        else:
            continue
        yield ConfigError(
            f"tag {name!r} {fact}",
            subject=where,
            got={name: value},
            allowed=allowed,
            remedy="correct the tag",
        )


def _network_problems(network: Any, wrong: Wrong) -> Iterator[ConfigError]:
    if (network.cidr is None) == (network.vpc_id is None):
        yield wrong(
            "cidr", "and 'vpc_id' exclude each other, one is needed", "one of them"
        )
        return
    foreign = _FOR_OWN_VPC if network.cidr is None else _FOR_EXISTING_VPC
    for key in foreign:
        if getattr(network, key):
            yield wrong(key, "is for the other kind of network", "nothing here")
    for key in ("availability_zones", "subnet_ids", "route_table_ids"):
        named = getattr(network, key)
        if len(set(named)) < len(named):
            yield wrong(key, "names one twice", "each once")
    if network.cidr is not None:
        yield from _own_network_problems(network, wrong)
        return
    if len(network.subnet_ids) < 2:
        # One zone that fails must not end all syncs.
        yield wrong("subnet_ids", "has the wrong number", "two or more, in two zones")
    if network.sqs_security_group_id is None:
        # One of ours would take the name of SQS from everybody in the VPC.
        yield wrong(
            "sqs_security_group_id",
            "is missing for a VPC that exists",
            "sg-..., the group of its SQS endpoint",
        )


def _own_network_problems(network: Any, wrong: Wrong) -> Iterator[ConfigError]:
    if not 2 <= len(network.availability_zones) <= 4:
        yield wrong("availability_zones", "has the wrong number", "two to four zones")
    if not network.peers:
        yield wrong("peers", "is empty", "the VPCs of Aurora and, if apart, of Vault")
    own = _block(network.cidr, range(16, 27))
    if own is None or not own.is_private:
        allowed = "such as 10.20.0.0/24, /16 to /26"
        yield wrong("cidr", "is not a private IPv4 block", allowed)
    seen = [own] if own is not None else []
    for peer in network.peers:
        block = _block(peer.cidr, range(8, 29))
        if block is None:
            yield wrong(
                "peers", "holds a wrong cidr", "IPv4 blocks such as 10.0.0.0/16"
            )
            continue
        # AWS peers no VPCs whose blocks overlap, and routes of one table must differ.
        if any(block.overlaps(other) for other in seen):
            yield wrong("peers", "holds a cidr that overlaps", "blocks of their own")
        seen.append(block)
    if len({peer.vpc_id for peer in network.peers}) < len(network.peers):
        yield wrong("peers", "names one VPC twice", "each VPC once")


def _aurora_problems(aurora: Any, wrong: Wrong) -> Iterator[ConfigError]:
    if aurora.sslmode == "disable" and not is_loopback(aurora.host):
        yield wrong("sslmode", "leaves the network unencrypted", "verify-full")
    if aurora.sslmode == "verify-full" and not aurora.ca:
        yield wrong("ca", "is missing for verify-full", "config/certs/<name>.pem")


def _vault_problems(vault: Any, wrong: Wrong) -> Iterator[ConfigError]:
    url = split_url(vault.address)
    if url is None or not url.hostname or url.scheme not in ("https", "http"):
        yield wrong("address", "is not an address", "https://host:port")
    elif url.scheme == "http" and not is_loopback(url.hostname):
        yield wrong("address", "sends tokens unencrypted", "https://host:port")
    elif url.path.strip("/") or url.query or url.fragment or url.username:
        yield wrong("address", "is more than an address", "https://host:port alone")
    if (vault.security_group_id is None) == (vault.cidr is None):
        yield wrong("cidr", "and 'security_group_id' exclude each other", "one of them")
    elif vault.cidr is not None:
        block = _block(vault.cidr, range(8, 33))
        if block is None or not block.is_private:
            yield wrong("cidr", "is not a private IPv4 block", "such as 10.0.7.0/24")
    if vault.database_mount == vault.kv_mount:
        yield wrong("database_mount", "is where the KV engine is", "a path of its own")
    yield from _connection_problems(vault, wrong)


def _connection_problems(vault: Any, wrong: Wrong) -> Iterator[ConfigError]:
    given = [vault.connection_url, vault.admin_user, vault.admin_secret]
    if None in given and any(value is not None for value in given):
        allowed = "connection_url, admin_user and admin_secret, or none of them"
        yield wrong("connection_url", "stands without its companions", allowed)
    elif vault.connection_url is None and vault.manage_mounts:
        # A mount that is about to be made has no connection yet.
        yield wrong(
            "connection_url",
            "is missing for a mount that is to be made",
            "the plugin's URL, or manage_mounts: false",
        )


def _function_problems(function: Any, wrong: Wrong) -> Iterator[ConfigError]:
    most = function.max_concurrency
    if most is not None and most <= function.load_concurrency:
        # Loads would take all there is, and schedules none.
        yield wrong("load_concurrency", "leaves none for schedules", f"below {most}")


def _block(text: str, sizes: range) -> IPv4Network | None:
    """Read an IPv4 block; None when it is none, or not of these sizes."""
    try:
        block = IPv4Network(text)
    except ValueError:
        return None
    return block if block.prefixlen in sizes else None


def split_url(text: str) -> SplitResult | None:
    """Take a URL apart; None when it is none."""
    try:
        url = urlsplit(text)
        # Read here, for a port that is no number is found only then.
        _ = url.port
    except ValueError:
        return None
    return url


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, where nothing needs encryption."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
