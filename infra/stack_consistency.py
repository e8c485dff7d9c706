"""Rules that settings of different groups must obey together."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

from infra.stack_rules import is_loopback, split_url
from runtime.contract.errors import ConfigError

# Source: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/
# Aurora.Overview.Endpoints.html: cluster-, cluster-ro- and cluster-custom- endpoints
_DOMAIN = "rds.amazonaws.com"


def stack_problems(groups: dict[str, Any], where: str) -> Iterator[ConfigError]:
    """Find what is wrong between groups, each of which is right.

    Args:
        groups: The groups that could be read, by their key.
        where: File and project, the subject of the messages.

    Yields:
        One error per problem.
    """
    aws, aurora = groups.get("aws"), groups.get("aurora")
    network, vault = groups.get("network"), groups.get("vault")
    if aws and network:
        yield from _zone_problems(network, aws.region, f"{where}:network")
    if not (aws and aurora):
        return
    wrong = list(_host_problems(aurora, aws.region, f"{where}:aurora"))
    yield from wrong
    # A URL is not wrong for naming another host than a wrong one.
    if not wrong and vault and vault.connection_url is not None:
        yield from _connection_problems(vault, aurora, f"{where}:vault")


def _wrong(key: str, fact: str, *, where: str, got: Any, allowed: str) -> ConfigError:
    return ConfigError(
        f"key {key!r} {fact}",
        subject=where,
        got=got,
        allowed=allowed,
        remedy="correct the setting",
    )


def _host_problems(aurora: Any, region: str, where: str) -> Iterator[ConfigError]:
    """Demand the writer endpoint: a reader's transactions are not all that are open.

    A name of one's own is no way round: it is not in the certificate.
    """
    if is_loopback(aurora.host):
        return
    wanted = f"{aurora.cluster_identifier}.cluster-<id>.{region}.{_DOMAIN}"
    cluster, _, rest = aurora.host.partition(".")
    kind, _, place = rest.partition(".")
    if kind.startswith(("cluster-ro-", "cluster-custom-")):
        fact = "is a reader or custom endpoint"
    elif not aurora.host.endswith(f".{_DOMAIN}") or not kind.startswith("cluster-"):
        fact = "is not a cluster endpoint of Aurora"
    elif place != f"{region}.{_DOMAIN}":
        fact = "is in another region than aurora-sync:aws"
    elif cluster != aurora.cluster_identifier:
        fact = "belongs to another cluster than 'cluster_identifier'"
    else:
        return
    yield _wrong("host", fact, where=where, got=aurora.host, allowed=wanted)


def _zone_problems(network: Any, region: str, where: str) -> Iterator[ConfigError]:
    foreign = [zone for zone in network.availability_zones if zone[:-1] != region]
    if foreign:
        yield _wrong(
            "availability_zones",
            "is in another region than aurora-sync:aws",
            where=where,
            got=foreign,
            allowed=f"zones such as {region}a",
        )


def _connection_problems(vault: Any, aurora: Any, where: str) -> Iterator[ConfigError]:
    """Vault makes its users where the exporter uses them, over the same encryption.

    The parts are shown and never the URL: someone may have written a password there.
    """
    key = "connection_url"
    url = split_url(vault.connection_url)
    if url is None or url.scheme not in ("postgresql", "postgres"):
        yield _wrong(
            key,
            "is not a URL of PostgreSQL",
            where=where,
            got=None,
            allowed="postgresql://host:port/database",
        )
        return
    if (url.username, url.password) != ("{{username}}", "{{password}}"):
        yield _wrong(
            key,
            "leaves no room for Vault's user and password",
            where=where,
            got=None,
            allowed="postgresql://{{username}}:{{password}}@host:port/database",
        )
    place = f"{url.hostname}:{url.port or 5432}/{unquote(url.path.removeprefix('/'))}"
    expected = f"{aurora.host}:{aurora.port}/{aurora.database}"
    if place != expected:
        yield _wrong(
            key,
            "leads to another database than aurora-sync:aurora",
            where=where,
            got=place,
            allowed=expected,
        )
    modes = parse_qs(url.query).get("sslmode", [])
    if modes != [aurora.sslmode]:
        yield _wrong(
            key,
            "has another sslmode than aurora-sync:aurora",
            where=where,
            got=modes,
            allowed=f"sslmode={aurora.sslmode}",
        )
