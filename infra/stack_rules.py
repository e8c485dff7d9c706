"""Rules that settings of one group must obey together."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from infra.stack_settings import (
    AuroraSettings,
    FunctionSettings,
    NetworkSettings,
    VaultSettings,
)
from runtime.contract.errors import ConfigError


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


def _network_problems(network: Any, wrong: Wrong) -> Iterator[ConfigError]:
    if (network.cidr is None) == (network.vpc_id is None):
        yield wrong(
            "cidr", "and 'vpc_id' exclude each other, one is needed", "one of them"
        )
    elif network.vpc_id is not None:
        if not network.subnet_ids:
            yield wrong("subnet_ids", "is empty", "the private subnets of that VPC")
        if network.peers:
            yield wrong("peers", "is for an own VPC", "no peers beside vpc_id")
    else:
        if not _is_block(network.cidr, range(16, 27)):
            yield wrong(
                "cidr", "is not an IPv4 block", "such as 10.20.0.0/24, /16 to /26"
            )
        if not 2 <= len(set(network.availability_zones)) <= 4:
            yield wrong(
                "availability_zones", "has the wrong number", "two to four zones"
            )
    for peer in network.peers:
        if not _is_block(peer.cidr, range(8, 29)):
            yield wrong(
                "peers", "holds a wrong cidr", "IPv4 blocks such as 10.0.0.0/16"
            )


def _aurora_problems(aurora: Any, wrong: Wrong) -> Iterator[ConfigError]:
    if aurora.sslmode == "disable" and not _is_loopback(aurora.host):
        yield wrong("sslmode", "leaves the network unencrypted", "verify-full")
    if aurora.sslmode == "verify-full" and not aurora.ca:
        yield wrong("ca", "is missing for verify-full", "config/certs/<name>.pem")


def _vault_problems(vault: Any, wrong: Wrong) -> Iterator[ConfigError]:
    url = urlsplit(vault.address)
    if not url.hostname or url.scheme not in ("https", "http"):
        yield wrong("address", "is not an address", "https://host:port")
    elif url.scheme == "http" and not _is_loopback(url.hostname):
        yield wrong("address", "sends tokens unencrypted", "https://host:port")
    if (vault.security_group_id is None) == (vault.cidr is None):
        yield wrong("cidr", "and 'security_group_id' exclude each other", "one of them")
    elif vault.cidr is not None and not _is_block(vault.cidr, range(8, 33)):
        yield wrong("cidr", "is not an IPv4 block", "such as 10.0.7.0/24")
    if vault.auth == "approle" and not vault.secret_id_file:
        yield wrong(
            "secret_id_file", "is missing for approle", "a path in the function"
        )
    given = [vault.connection_url, vault.admin_user, vault.admin_secret]
    if None in given and any(value is not None for value in given):
        allowed = "connection_url, admin_user and admin_secret, or none of them"
        yield wrong("connection_url", "stands without its companions", allowed)


def _function_problems(function: Any, wrong: Wrong) -> Iterator[ConfigError]:
    most = function.max_concurrency
    if most is not None and most <= function.load_concurrency:
        # Loads would take all there is, and schedules none.
        yield wrong("load_concurrency", "leaves none for schedules", f"below {most}")


def _is_block(text: str, sizes: range) -> bool:
    try:
        return IPv4Network(text).prefixlen in sizes
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
