"""Private networks: nothing in a default VPC, nothing public, groups by reference."""

from collections.abc import Iterator
from ipaddress import ip_network

from infra.policy_pack.model import Resource, Rule, Unknown

_EC2 = "aws:ec2/"
# The default group of our own VPC is taken only to close it.
_CLOSED = f"{_EC2}defaultSecurityGroup"
_PUBLIC = {
    f"{_EC2}{kind}"
    for kind in (
        *("eip", "egressOnlyInternetGateway", "internetGateway", "natGateway"),
        "internetGatewayAttachment",
    )
}
_WIDEST = 8


def _own_vpc(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    if resource.kind == _CLOSED:
        if inputs.get("ingress") or inputs.get("egress"):
            yield "the default group of the VPC lets something through"
    elif resource.kind.startswith(f"{_EC2}default"):
        yield "it belongs to the default VPC"
    elif resource.kind == "aws:lambda/function":
        placed = inputs.get("vpcConfig") or {}
        if not placed.get("subnetIds") or not placed.get("securityGroupIds"):
            yield "the function has no subnets and groups of its own"
    elif resource.kind == f"{_EC2}securityGroup" and not inputs.get("vpcId"):
        yield "without vpcId the group is made in the default VPC"


def _by_reference(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    if resource.kind == f"{_EC2}securityGroup":
        if inputs.get("ingress") or inputs.get("egress"):
            yield "rules stand in the group; make them resources of their own"
    elif resource.kind == f"{_EC2}securityGroupRule":
        yield "make it an aws.vpc rule, which names one place"
    elif resource.kind == "aws:vpc/securityGroupIngressRule":
        if not inputs.get("referencedSecurityGroupId"):
            yield "it admits others than the members of a group"
    elif resource.kind == "aws:vpc/securityGroupEgressRule":
        yield from _egress(resource)


def _egress(rule: Resource) -> Iterator[str]:
    inputs = rule.inputs
    if inputs.get("cidrIpv6"):
        yield "it leads to an IPv6 block"
    block = inputs.get("cidrIpv4")
    if block and not isinstance(block, Unknown):
        if ip_network(block).prefixlen < _WIDEST or not ip_network(block).is_private:
            yield f"it leads to {block}, no private block of at most /{_WIDEST}"
    if inputs.get("ipProtocol") != "tcp" or inputs.get("fromPort") != inputs.get(
        "toPort"
    ):
        yield "it leads to more than one TCP port"


def _private(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    if resource.kind in _PUBLIC:
        yield "it leads to the internet"
    elif resource.kind == f"{_EC2}subnet":
        if inputs.get("mapPublicIpOnLaunch") is not False:
            yield "the subnet gives public addresses"
    elif resource.kind == f"{_EC2}route":
        if inputs.get("gatewayId") or inputs.get("natGatewayId"):
            yield "the route leads to the internet"
        if inputs.get("destinationCidrBlock") in ("0.0.0.0/0", None):
            yield "the route leads everywhere"
    elif resource.kind == f"{_EC2}routeTable" and inputs.get("routes"):
        yield "routes stand in the table; make them resources of their own"


RULES = (
    Rule(
        name="own-vpc",
        description="Nothing stands in a default VPC; functions stand in subnets",
        check=_own_vpc,
        exempt={
            "checker-function": "S3, DynamoDB and its log are all it needs, and it "
            "watches over the network"
        },
    ),
    Rule(
        name="groups-by-reference",
        description="Security groups name groups, prefix lists or a private block, "
        "and one port",
        check=_by_reference,
    ),
    Rule(
        name="private-subnets",
        description="No subnet, gateway or route leads to the internet",
        check=_private,
    ),
)
