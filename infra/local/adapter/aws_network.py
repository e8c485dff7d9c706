"""EC2 network resources. The emulator records them and blocks no traffic."""

from typing import Any

from botocore.exceptions import ClientError

from infra.local.adapter.site import NAME_TAG, Call, Handler, Inputs, Made, Site, arn


def _found(site: Site, describe: str, key: str, name: str) -> Any:
    """Return what this logical name made before, or None."""
    found = getattr(site.aws("ec2"), describe)(
        Filters=[{"Name": f"tag:{NAME_TAG}", "Values": [name]}]
    )[key]
    return found[0] if found else None


def _tagged(site: Site, kind: str, inputs: Inputs, name: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": site.tag_list(inputs, name)}]


def _vpc(site: Site, name: str, inputs: Inputs) -> Made:
    ec2 = site.aws("ec2")
    vpc = (
        _found(site, "describe_vpcs", "Vpcs", name)
        or ec2.create_vpc(
            CidrBlock=inputs["cidrBlock"],
            TagSpecifications=_tagged(site, "vpc", inputs, name),
        )["Vpc"]
    )
    own = vpc["VpcId"]
    for option in ("enableDnsSupport", "enableDnsHostnames"):
        if option in inputs:
            attribute = {option[0].upper() + option[1:]: {"Value": inputs[option]}}
            ec2.modify_vpc_attribute(VpcId=own, **attribute)
    return own, {"arn": arn("ec2", f"vpc/{own}"), "cidrBlock": vpc["CidrBlock"]}


def _default_security_group(site: Site, name: str, inputs: Inputs) -> Made:
    group = _group_named(site, "default", inputs["vpcId"])
    _revoke_all(site, group)
    return group["GroupId"], {}


def _group_named(site: Site, name: str, vpc_id: str) -> Any:
    found = site.aws("ec2").describe_security_groups(
        Filters=[
            {"Name": "group-name", "Values": [name]},
            {"Name": "vpc-id", "Values": [vpc_id]},
        ]
    )["SecurityGroups"]
    return found[0] if found else None


def _revoke_all(site: Site, group: Any) -> None:
    ec2 = site.aws("ec2")
    for direction, key in (
        ("ingress", "IpPermissions"),
        ("egress", "IpPermissionsEgress"),
    ):
        if group[key]:
            revoke = getattr(ec2, f"revoke_security_group_{direction}")
            revoke(GroupId=group["GroupId"], IpPermissions=group[key])


def _subnet(site: Site, name: str, inputs: Inputs) -> Made:
    subnet = (
        _found(site, "describe_subnets", "Subnets", name)
        or site.aws("ec2").create_subnet(
            VpcId=inputs["vpcId"],
            CidrBlock=inputs["cidrBlock"],
            AvailabilityZone=inputs["availabilityZone"],
            TagSpecifications=_tagged(site, "subnet", inputs, name),
        )["Subnet"]
    )
    return subnet["SubnetId"], {"arn": arn("ec2", f"subnet/{subnet['SubnetId']}")}


def _route_table(site: Site, name: str, inputs: Inputs) -> Made:
    table = (
        _found(site, "describe_route_tables", "RouteTables", name)
        or site.aws("ec2").create_route_table(
            VpcId=inputs["vpcId"],
            TagSpecifications=_tagged(site, "route-table", inputs, name),
        )["RouteTable"]
    )
    own = table["RouteTableId"]
    return own, {"arn": arn("ec2", f"route-table/{own}")}


def _route_table_association(site: Site, name: str, inputs: Inputs) -> Made:
    ec2 = site.aws("ec2")
    table, subnet = inputs["routeTableId"], inputs["subnetId"]
    [known] = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    for association in known["Associations"]:
        if association.get("SubnetId") == subnet:
            return association["RouteTableAssociationId"], {}
    made = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    return made["AssociationId"], {}


def _peering(site: Site, name: str, inputs: Inputs) -> Made:
    ec2 = site.aws("ec2")
    peering = (
        _found(site, "describe_vpc_peering_connections", "VpcPeeringConnections", name)
        or ec2.create_vpc_peering_connection(
            VpcId=inputs["vpcId"],
            PeerVpcId=inputs["peerVpcId"],
            TagSpecifications=_tagged(site, "vpc-peering-connection", inputs, name),
        )["VpcPeeringConnection"]
    )
    own = peering["VpcPeeringConnectionId"]
    if inputs.get("autoAccept") and peering["Status"]["Code"] == "pending-acceptance":
        ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=own)
    return own, {"acceptStatus": "active"}


def _route(site: Site, name: str, inputs: Inputs) -> Made:
    ec2 = site.aws("ec2")
    route = {
        "RouteTableId": inputs["routeTableId"],
        "DestinationCidrBlock": inputs["destinationCidrBlock"],
        "VpcPeeringConnectionId": inputs["vpcPeeringConnectionId"],
    }
    try:
        ec2.create_route(**route)
    except ClientError as error:
        if error.response["Error"]["Code"] != "RouteAlreadyExists":
            raise
        ec2.replace_route(**route)
    return f"r-{inputs['routeTableId']}-{inputs['destinationCidrBlock']}", {}


def _vpc_endpoint(site: Site, name: str, inputs: Inputs) -> Made:
    ec2 = site.aws("ec2")
    endpoint = (
        _found(site, "describe_vpc_endpoints", "VpcEndpoints", name)
        or ec2.create_vpc_endpoint(
            VpcId=inputs["vpcId"],
            ServiceName=inputs["serviceName"],
            VpcEndpointType=inputs.get("vpcEndpointType", "Gateway"),
            RouteTableIds=inputs.get("routeTableIds", []),
            SubnetIds=inputs.get("subnetIds", []),
            SecurityGroupIds=inputs.get("securityGroupIds", []),
            PolicyDocument=inputs["policy"],
            TagSpecifications=_tagged(site, "vpc-endpoint", inputs, name),
        )["VpcEndpoint"]
    )
    own = endpoint["VpcEndpointId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=own, PolicyDocument=inputs["policy"])
    outputs = {"arn": arn("ec2", f"vpc-endpoint/{own}")}
    if inputs.get("vpcEndpointType", "Gateway") == "Gateway":
        outputs["prefixListId"] = _prefix_list(site, inputs["serviceName"])
    return own, outputs


def _prefix_list(site: Site, service_name: str) -> str:
    [found] = site.aws("ec2").describe_managed_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": [service_name]}]
    )["PrefixLists"]
    return str(found["PrefixListId"])


def _security_group(site: Site, name: str, inputs: Inputs) -> Made:
    ec2 = site.aws("ec2")
    group = _group_named(site, inputs["name"], inputs["vpcId"])
    if group is None:
        ec2.create_security_group(
            GroupName=inputs["name"],
            Description=inputs["description"],
            VpcId=inputs["vpcId"],
            TagSpecifications=_tagged(site, "security-group", inputs, name),
        )
        group = _group_named(site, inputs["name"], inputs["vpcId"])
        # AWS opens a new group to the outside; the provider closes it again.
        _revoke_all(site, group)
    own = group["GroupId"]
    return own, {"arn": arn("ec2", f"security-group/{own}")}


def _rule(direction: str) -> Handler:
    kind = f"aws:vpc/securityGroup{direction.capitalize()}Rule"
    kind += f":SecurityGroup{direction.capitalize()}Rule"

    def make(site: Site, name: str, inputs: Inputs) -> Made:
        # The emulator refuses no doubles and forgets the prefix list of a rule, so
        # that only the id tells whether the rule stands.
        ec2 = site.aws("ec2")
        group = inputs["securityGroupId"]
        before = site.before.get((kind, name))
        if before is not None:
            standing = ec2.describe_security_group_rules(
                Filters=[{"Name": "group-id", "Values": [group]}]
            )["SecurityGroupRules"]
            if before["id"] in [rule["SecurityGroupRuleId"] for rule in standing]:
                if before["inputs"] == inputs:
                    return before["id"], {}
                revoke = getattr(ec2, f"revoke_security_group_{direction}")
                revoke(GroupId=group, SecurityGroupRuleIds=[before["id"]])
        authorize = getattr(ec2, f"authorize_security_group_{direction}")
        made = authorize(GroupId=group, IpPermissions=[_permission(inputs)])
        return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}

    return make


def _permission(inputs: Inputs) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    for key, name in (("fromPort", "FromPort"), ("toPort", "ToPort")):
        if key in inputs:
            permission[name] = inputs[key]
    for key, group, member in (
        ("referencedSecurityGroupId", "UserIdGroupPairs", "GroupId"),
        ("prefixListId", "PrefixListIds", "PrefixListId"),
        ("cidrIpv4", "IpRanges", "CidrIp"),
    ):
        if key in inputs:
            permission[group] = [{member: inputs[key]}]
    return permission


def _managed_prefix_list(site: Site, args: Inputs) -> dict[str, Any]:
    return {**args, "id": _prefix_list(site, args["name"])}


HANDLERS: dict[str, Handler] = {
    "aws:ec2/vpc:Vpc": _vpc,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _default_security_group,
    "aws:ec2/subnet:Subnet": _subnet,
    "aws:ec2/routeTable:RouteTable": _route_table,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _route_table_association,
    "aws:ec2/vpcPeeringConnection:VpcPeeringConnection": _peering,
    "aws:ec2/route:Route": _route,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _vpc_endpoint,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule("egress"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule("ingress"),
}
CALLS: dict[str, Call] = {
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": _managed_prefix_list,
}
