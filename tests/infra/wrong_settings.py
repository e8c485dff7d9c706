"""Wrong values of every setting of a stack; see `test_wrong_settings`."""

from typing import Any

from tests.infra.recording import example_settings

OWN_VPC = example_settings("staging")["network"]
EXISTING_VPC = example_settings("dev")["network"]
# Where a setting stands: group and key, or a key of the stack itself.
Field = tuple[str, ...]

# Values that have the right type and are wrong all the same.
WRONG: dict[Field, list[Any]] = {
    ("aws", "region"): [
        *("", "Ireland", "eu-west", "eu-west-1a", "EU-WEST-1", "eu-west-1 "),
        # Other partitions, whose ARNs begin otherwise.
        *("cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"),
    ],
    ("aws", "account_id"): [
        "",
        "1111222233334",
        "11112222333",
        "11112222333O",
        "١" * 12,
    ],
    ("network", "cidr"): [
        *("", "10.20.0.1/24", "10.20.0.0/28", "10.0.0.0/8", "10.20.0.0", "fd00::/56"),
        "52.0.0.0/24",
    ],
    ("network", "availability_zones"): [
        *([], ["eu-west-1a"], ["eu-west-1a"] * 2, ["eu-west-1", "eu-west-1b"]),
        *([f"eu-west-1{zone}" for zone in "abcde"], ["us-east-1a", "us-east-1b"]),
    ],
    ("network", "peers"): [[]],
    ("network", "vpc_id"): ["", "10.0.0.0/16", "subnet-0a1b2c3d"],
    ("network", "subnet_ids"): [
        *([], ["subnet-0a1b2c3d"], ["subnet-0a1b2c3d"] * 2, ["subnet-0a1b2c3d", ""]),
        ["subnet-0a1b2c3d", "sg-0a1b2c3d"],
    ],
    ("network", "route_table_ids"): [[""], ["rtb-0a1b2c3d"] * 2, ["vpc-0a1b2c3d"]],
    ("network", "sqs_security_group_id"): ["", "vpce-0a1b2c3d"],
    ("network", "peers", "vpc_id"): ["", "10.0.0.0/16"],
    ("network", "peers", "cidr"): [
        *("", "10.0.0.1/16", "0.0.0.0/0", "10.20.0.0/16", "10.40.0.0/12"),
    ],
    ("network", "peers", "route_table_ids"): [[], [""], ["subnet-0a1b2c3d"]],
    ("aurora", "cluster_identifier"): [
        *("", "Shop-Dev", "shop--dev", "shop-", "s" * 64, "other"),
    ],
    ("aurora", "host"): [
        *("", "https://shop", "shop dev", "SHOP-DEV", "aurora.example.com", "10.0.0.7"),
        "shop-dev.cluster-ro-c0ffee0c0ffe.eu-west-1.rds.amazonaws.com",
        "shop-dev.cluster-custom-c0ffee0c0ffe.eu-west-1.rds.amazonaws.com",
        "shop-dev.c0ffee0c0ffe.eu-west-1.rds.amazonaws.com",
        "shop-dev.cluster-c0ffee0c0ffe.us-east-1.rds.amazonaws.com",
        "shop-dev.cluster-c0ffee0c0ffe.cn-north-1.rds.amazonaws.com.cn",
        "shop-prod.cluster-c0ffee0c0ffe.eu-west-1.rds.amazonaws.com",
    ],
    ("aurora", "port"): [0, 65536, -1],
    ("aurora", "database"): ["", " shop", "shop\n", "s" * 64],
    ("aurora", "security_group_id"): ["", "default", "vpc-0a1b2c3d"],
    ("aurora", "sslmode"): ["", "prefer", "disable", "require"],
    ("aurora", "ca"): ["", "../secrets.pem", "/etc/ca.pem", "config/certs/a.txt"],
    ("vault", "address"): [
        *("", "vault.example.com", "ftp://vault", "http://vault.example.com:8200"),
        *("https://", "https://vault:port", "https://vault/v1", "https://u:p@vault"),
    ],
    ("vault", "namespace"): ["/", " admin", "admin/"],
    ("vault", "ca"): ["../secrets.pem", "config/certs/"],
    ("vault", "security_group_id"): ["", "10.0.0.0/16"],
    ("vault", "cidr"): [
        *("", "10.0.0.0/4", "10.40.7.1/24", "vault", "52.0.0.0/16"),
    ],
    ("vault", "auth_mount"): ["", "/aws", "auth/", "a b"],
    ("vault", "server_id"): [" ", "vault.example.com\n"],
    ("vault", "database_mount"): ["", "/database", "database/", "secret"],
    ("vault", "connection"): ["", "a/b", "a b"],
    ("vault", "connection_url"): [
        *("", "shop", "mysql://{{username}}:{{password}}@h/shop"),
        "postgresql://vault:clear-text@{host}:5432/shop?sslmode=verify-full",
        "postgresql://{{username}}:{{password}}@other:5432/shop?sslmode=verify-full",
        "postgresql://{{username}}:{{password}}@{host}:5433/shop?sslmode=verify-full",
        "postgresql://{{username}}:{{password}}@{host}:5432/x?sslmode=verify-full",
        "postgresql://{{username}}:{{password}}@{host}:5432/shop",
        "postgresql://{{username}}:{{password}}@{host}:5432/shop?sslmode=require",
        "postgresql://{{username}}:{{password}}@{host}:port/shop?sslmode=verify-full",
    ],
    ("vault", "admin_user"): ["", " vault"],
    ("vault", "admin_secret"): ["", "/a", "a//b"],
    ("vault", "kv_mount"): ["", "secret/"],
    ("snowflake", "organization"): ["", "EXAMPLE-ANALYTICS", "EXAM PLE"],
    ("snowflake", "account"): ["", "EXAMPLE.ANALYTICS", "https://a"],
    ("snowflake", "user"): ["", " DEPLOYER"],
    ("snowflake", "role"): ["", "deployer", "DEPLOY ER", '"DEPLOYER"'],
    ("snowflake", "private_key_secret"): [
        "",
        "/secret",
        f"-----BEGIN {'PRIVATE KEY'}-----",
    ],
    ("snowflake", "database"): ["", "shop", "SHOP.PUBLIC", "S" * 201],
    ("snowflake", "warehouse"): ["", "sync", "1SYNC"],
    ("snowflake", "warehouse_size"): ["", "xsmall", "X-Small", "XXXLARGE"],
    ("snowflake", "external_id"): ["", "short", "a" * 129, "with space"],
    ("alarms", "email"): [["nobody"], ["a b@example.com"], ["on-call@example"]],
    ("alarms", "https"): [["http://example.com"], ["https://"], ["example.com/x"]],
    ("alarms", "runbook"): ["", " "],
    ("alarms", "status_minutes"): [4, 61],
    ("function", "memory"): [127, 10241],
    ("function", "timeout"): [59, 301],
    ("function", "runtime"): ["", "python3.10", "nodejs22.x"],
    ("function", "architecture"): ["", "amd64"],
    ("function", "max_concurrency"): [0, 4],
    ("function", "load_concurrency"): [1, 1001],
    ("function", "brake_horizon_seconds"): [299],
    ("function", "brake_connections_percent"): [0, 101],
    ("function", "chunk_bytes"): [999_999, 2_000_000_001],
    ("function", "heartbeat_seconds"): [59],
    ("function", "log_level"): ["", "info", "TRACE"],
    ("function", "log_retention_days"): [0, 31],
    ("sync_config",): ["", " a.json", "a.json\n", '{"a": 1}', '["a.json"]'],
    ("bundle",): ["", "\t", '{"a": "b.zip"}'],
    ("tags",): [
        *({"": "x"}, {"aws:x": "y"}, {"aurora-sync:stack": "x"}, {"a" * 129: "x"}),
        *({"a": "b" * 257}, {"a": "b\n"}, {"a?": "b"}),
        {f"t{number}": "x" for number in range(41)},
    ],
    ("adopt",): [[""], ["public.orders", " public.items"]],
}
# These take both values of their type, so that only another type can be wrong.
ONLY_TYPES = {
    ("vault", "resolve_unique_ids"),
    ("vault", "manage_mounts"),
    ("deletion_protection",),
}
# Two settings, each right, that contradict each other.
CONTRADICTIONS: list[tuple[str, dict[str, Any]]] = [
    ("network", {"vpc_id": ...}),
    ("network", {"sqs_security_group_id": ...}),
    ("network", {"cidr": "10.0.0.0/24"}),
    ("network", {"availability_zones": ["eu-west-1a", "eu-west-1b"]}),
    ("network", {"peers": OWN_VPC["peers"]}),
    *(
        ("network", OWN_VPC | {key: ... for key in EXISTING_VPC if key != left})
        for left in EXISTING_VPC
    ),
    (
        "network",
        dict.fromkeys(EXISTING_VPC, ...)
        | OWN_VPC
        | {
            "peers": [
                OWN_VPC["peers"][0],
                OWN_VPC["peers"][0] | {"cidr": "10.9.0.0/16"},
            ]
        },
    ),
    ("vault", {"security_group_id": ...}),
    ("vault", {"cidr": "10.0.7.0/24"}),
    ("vault", {"connection_url": ...}),
    ("vault", {"admin_user": ...}),
    ("vault", {"admin_secret": ...}),
    ("vault", dict.fromkeys(("connection_url", "admin_user", "admin_secret"), ...)),
    ("function", {"max_concurrency": 8, "load_concurrency": 8}),
]
