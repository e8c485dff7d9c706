"""What a deployment must be told, as frozen groups of `Pulumi.<stack>.yaml`.

The descriptions are what an error shows as allowed. No secret is among these values:
secrets stand in Vault, and a setting says under which name.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from infra.setting_types import (
    GroupId,
    Port,
    Region,
    RouteTableId,
    SubnetId,
    Text,
    VaultPath,
    VpcId,
    Zone,
    upper_name,
)


class AwsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where in AWS; any other account or region is refused by the provider."""

    region: Annotated[
        Region,
        Meta(
            description="region of the partition aws, such as eu-west-1; AWS China, "
            "GovCloud and the sovereign clouds are not supported"
        ),
    ]
    account_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{12}\Z",
            description="twelve digits in quotes, or YAML reads a number",
        ),
    ]


class Peer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another VPC of this account and region that the own VPC must reach."""

    vpc_id: VpcId
    cidr: Text
    route_table_ids: Annotated[tuple[RouteTableId, ...], Meta(min_length=1)]


class NetworkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VPC of our own (`cidr`), or subnets that exist (`vpc_id`)."""

    cidr: Annotated[
        Text | None, Meta(description="IPv4 block of an own VPC, /16 to /26")
    ] = None
    availability_zones: Annotated[
        tuple[Zone, ...], Meta(description="two to four zones such as eu-west-1a")
    ] = ()
    peers: Annotated[
        tuple[Peer, ...],
        Meta(description="list of {vpc_id, cidr, route_table_ids} to peer with"),
    ] = ()
    vpc_id: Annotated[VpcId | None, Meta(description="VPC that exists, vpc-...")] = None
    subnet_ids: Annotated[
        tuple[SubnetId, ...],
        Meta(description="at least two private subnets of that VPC, subnet-..."),
    ] = ()
    route_table_ids: Annotated[
        tuple[RouteTableId, ...],
        Meta(
            description="route tables of the function's and Aurora's subnets that get "
            "gateway endpoints, rtb-...; empty when these exist"
        ),
    ] = ()
    sqs_security_group_id: Annotated[
        GroupId | None,
        Meta(
            description="group of the SQS endpoint of that VPC, sg-...; an own VPC "
            "gets one"
        ),
    ] = None


class AuroraSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cluster that is read."""

    # Source: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/
    # Aurora.CreateInstance.html, "DB cluster identifier"
    cluster_identifier: Annotated[
        str,
        Meta(
            pattern=r"^[a-z](-?[a-z0-9])*\Z",
            max_length=63,
            description="DB cluster identifier of the Aurora cluster, in lower case",
        ),
    ]
    host: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z",
            description="writer endpoint of the cluster, without port",
        ),
    ]
    port: Port = 5432
    database: Annotated[
        Text, Meta(max_length=63, description="database that holds the tables")
    ]
    security_group_id: Annotated[
        GroupId, Meta(description="the cluster's group, sg-...")
    ]
    sslmode: Annotated[
        Literal["verify-full", "disable"],
        Meta(description="verify-full; disable only on a loopback address"),
    ] = "verify-full"
    ca: Annotated[
        str,
        Meta(
            pattern=r"^(config/certs/[\w.-]+\.pem)?\Z",
            description="CA bundle as config/certs/<name>.pem beside the sync config",
        ),
    ] = ""


class VaultSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Vault: where it is, what exists in it, what is to be made."""

    address: Annotated[
        Text, Meta(description="https://host:port; http only on a loopback address")
    ]
    namespace: Annotated[
        VaultPath | Literal[""], Meta(description="path of a namespace, or empty")
    ] = ""
    ca: Annotated[
        str,
        Meta(
            pattern=r"^(config/certs/[\w.-]+\.pem)?\Z",
            description="CA file as config/certs/<name>.pem beside the sync config",
        ),
    ] = ""
    security_group_id: Annotated[
        GroupId | None, Meta(description="Vault's group, sg-..., or else cidr")
    ] = None
    cidr: Annotated[
        Text | None, Meta(description="Vault's IPv4 block, or else security_group_id")
    ] = None
    auth_mount: Annotated[
        VaultPath, Meta(description="path of the AWS auth method")
    ] = "aws"
    server_id: Annotated[
        Text | Literal[""],
        Meta(description="X-Vault-AWS-IAM-Server-ID that logins must sign, or empty"),
    ] = ""
    resolve_unique_ids: Annotated[
        bool, Meta(description="bind the role's unique id; Vault needs iam:GetRole")
    ] = True
    manage_mounts: Annotated[
        bool, Meta(description="make the auth and database mounts; false: they exist")
    ] = True
    database_mount: Annotated[
        VaultPath, Meta(description="path of the database engine")
    ] = "database"
    connection: Annotated[
        str, Meta(pattern=r"^[\w.-]+\Z", description="name of the connection")
    ] = "aurora"
    connection_url: Annotated[
        Text | None,
        Meta(
            description="the plugin's URL with {{username}} and {{password}}; "
            "none when the connection exists"
        ),
    ] = None
    admin_user: Annotated[
        Text | None, Meta(description="Vault's own database user")
    ] = None
    admin_secret: Annotated[
        VaultPath | None,
        Meta(description="KV secret whose field `password` is that user's password"),
    ] = None
    kv_mount: Annotated[VaultPath, Meta(description="path of the KV v2 engine")] = (
        "secret"
    )


class SnowflakeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Snowflake account and what the sync is called there."""

    organization: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_]+\Z", description="organization name")
    ]
    account: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z][A-Za-z0-9_-]*\Z",
            description="account name in the organization, without it",
        ),
    ]
    user: Annotated[
        Text,
        Meta(description="deploying user, TYPE = SERVICE, with key-pair login"),
    ]
    role: Annotated[str, upper_name("deploying role")]
    private_key_secret: Annotated[
        VaultPath,
        Meta(description="KV secret whose field `private_key` is its PEM key"),
    ]
    database: Annotated[str, upper_name("database")]
    warehouse: Annotated[str, upper_name("warehouse")]
    warehouse_size: Annotated[
        Literal["XSMALL", "SMALL", "MEDIUM", "LARGE", "XLARGE"],
        Meta(description="XSMALL to XLARGE"),
    ] = "XSMALL"
    external_id: Annotated[
        str,
        Meta(
            pattern=r"^[a-zA-Z0-9_+=,.@:/-]{8,128}\Z",
            description="8 to 128 characters that Snowflake must present to AWS",
        ),
    ]


# A list or an object instead of a path arrives as its JSON.
_Path = Annotated[str, Meta(pattern=r"(?s)^(?![\[{\s]).*\S\Z")]


class PlainSettings(Struct, frozen=True, kw_only=True):
    """Settings that stand alone, without a group."""

    sync_config: Annotated[_Path, Meta(description="path of sync_config.json")] = (
        "config/sync_config.json"
    )
    bundle: Annotated[_Path, Meta(description="path of the function's zip")] = (
        "build/exporter.zip"
    )
    tags: Annotated[
        dict[str, str], Meta(max_length=40, description="at most 40 names with texts")
    ] = field(default_factory=dict)
    deletion_protection: Annotated[bool, Meta(description="true or false")] = True
    adopt: Annotated[
        tuple[Text, ...],
        Meta(
            description="source tables whose targets stand in Snowflake without being "
            "in the state, for one deployment"
        ),
    ] = ()
