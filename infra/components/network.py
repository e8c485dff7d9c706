"""Network: private subnets, and a function that reaches five places and no others.

Aurora, Vault, S3, DynamoDB and SQS: no internet gateway, no NAT. SQS alone has no
gateway endpoint and takes an interface endpoint. Vault itself asks STS about the
function's login, and Lambda ships the logs.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws

from infra import resource_policies
from infra.components.documents import rendered
from infra.stack import StackSettings

_HTTPS = 443


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Arguments of `Network`."""

    settings: StackSettings


class Network(pulumi.ComponentResource):
    """Where the function runs.

    Attributes:
        subnet_ids: Private subnets of the function.
        security_group_id: The function's group.
        ready: What must exist before the function can reach anything.
    """

    def __init__(
        self,
        name: str,
        args: NetworkArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:Network", name, {}, opts)
        self._name = name
        self._settings = args.settings
        self._child = pulumi.ResourceOptions(parent=self)
        self._peerings: list[pulumi.Resource] = []
        wanted = args.settings.network
        self.subnet_ids: list[pulumi.Input[str]] = list(wanted.subnet_ids)
        self._route_tables: list[pulumi.Input[str]] = list(wanted.route_table_ids)
        self._vpc_id: pulumi.Input[str] = wanted.vpc_id or self._own_vpc()
        self.security_group_id = self._security_group()
        # A rule may name a group of another VPC once the two are peered.
        self._ruled = pulumi.ResourceOptions(parent=self, depends_on=self._peerings)
        self.ready = self._rules()
        self.register_outputs(
            {"subnetIds": self.subnet_ids, "securityGroupId": self.security_group_id}
        )

    def _own_vpc(self) -> pulumi.Output[str]:
        block = IPv4Network(self._settings.network.cidr or "")
        vpc = aws.ec2.Vpc(
            f"{self._name}-vpc",
            cidr_block=str(block),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            opts=self._child,
        )
        # The group that AWS adds by itself would let its members talk freely.
        aws.ec2.DefaultSecurityGroup(
            f"{self._name}-closed", vpc_id=vpc.id, opts=self._child
        )
        table = aws.ec2.RouteTable(
            f"{self._name}-routes", vpc_id=vpc.id, opts=self._child
        )
        self._route_tables = [table.id]
        zones = self._settings.network.availability_zones
        blocks = block.subnets(prefixlen_diff=2)
        for zone, own in zip(zones, blocks, strict=False):
            subnet = aws.ec2.Subnet(
                f"{self._name}-{zone}",
                vpc_id=vpc.id,
                availability_zone=zone,
                cidr_block=str(own),
                map_public_ip_on_launch=False,
                opts=self._child,
            )
            aws.ec2.RouteTableAssociation(
                f"{self._name}-{zone}-routes",
                subnet_id=subnet.id,
                route_table_id=table.id,
                opts=self._child,
            )
            self.subnet_ids.append(subnet.id)
        self._peer(vpc, table)
        return vpc.id

    def _peer(self, vpc: aws.ec2.Vpc, table: aws.ec2.RouteTable) -> None:
        for peer in self._settings.network.peers:
            name = f"{self._name}-{peer.vpc_id}"
            peering = aws.ec2.VpcPeeringConnection(
                name,
                vpc_id=vpc.id,
                peer_vpc_id=peer.vpc_id,
                auto_accept=True,
                opts=self._child,
            )
            self._peerings.append(peering)
            self._route(f"{name}-there", table.id, peer.cidr, peering)
            for back in peer.route_table_ids:
                self._route(f"{name}-{back}", back, vpc.cidr_block, peering)

    def _route(
        self,
        name: str,
        table_id: pulumi.Input[str],
        block: pulumi.Input[str],
        peering: aws.ec2.VpcPeeringConnection,
    ) -> None:
        aws.ec2.Route(
            name,
            route_table_id=table_id,
            destination_cidr_block=block,
            vpc_peering_connection_id=peering.id,
            opts=self._child,
        )

    def _security_group(self) -> pulumi.Output[str]:
        group = aws.ec2.SecurityGroup(
            f"{self._name}-exporter",
            name=self._settings.named("exporter", 255),
            description="Exporter of aurora-sync; rules are resources of their own",
            vpc_id=self._vpc_id,
            opts=self._child,
        )
        return group.id

    def _prefix_list(self, service: str) -> pulumi.Output[str]:
        """Return the service's address list, making its gateway endpoint if asked."""
        full_name = f"com.amazonaws.{self._settings.aws.region}.{service}"
        if not self._route_tables:
            return aws.ec2.get_managed_prefix_list_output(
                name=full_name, opts=pulumi.InvokeOptions(parent=self)
            ).id
        endpoint = aws.ec2.VpcEndpoint(
            f"{self._name}-{service}",
            vpc_id=self._vpc_id,
            service_name=full_name,
            vpc_endpoint_type="Gateway",
            route_table_ids=self._route_tables,
            policy=rendered(
                resource_policies.endpoint,
                account_id=self._settings.aws.account_id,
            ),
            opts=self._child,
        )
        return endpoint.prefix_list_id

    def _rules(self) -> list[pulumi.Resource]:
        aurora, vault = self._settings.aurora, self._settings.vault
        url = urlsplit(vault.address)
        vault_port = url.port or (_HTTPS if url.scheme == "https" else 80)
        lake = self._prefix_list("s3")
        rules: list[pulumi.Resource] = [
            self._egress("s3", _HTTPS, prefix_list_id=lake),
            self._egress(
                "dynamodb", _HTTPS, prefix_list_id=self._prefix_list("dynamodb")
            ),
            *self._way("aurora", aurora.port, aurora.security_group_id),
            *self._sqs(),
            # Aurora itself uploads the files, from its own interfaces.
            aws.vpc.SecurityGroupEgressRule(
                f"{self._name}-aurora-to-s3",
                security_group_id=aurora.security_group_id,
                description="aws_s3 exports of aurora-sync",
                ip_protocol="tcp",
                from_port=_HTTPS,
                to_port=_HTTPS,
                prefix_list_id=lake,
                opts=self._ruled,
            ),
        ]
        if vault.security_group_id is None:
            rules.append(self._egress("vault", vault_port, cidr_ipv4=vault.cidr))
        else:
            rules += self._way("vault", vault_port, vault.security_group_id)
        return rules

    def _sqs(self) -> list[pulumi.Resource]:
        """Let the function reach SQS, in an own VPC by an endpoint of its own.

        The endpoint has the name of SQS in the whole VPC: in one that exists, others
        would be led to it and not be let in.
        Source: AWSSimpleQueueService/latest/SQSDeveloperGuide/
        sqs-internetwork-traffic-privacy.html asks for private DNS
        """
        given = self._settings.network.sqs_security_group_id
        if given is not None:
            return self._way("sqs", _HTTPS, given)
        group = aws.ec2.SecurityGroup(
            f"{self._name}-sqs-group",
            name=self._settings.named("sqs", 255),
            description="SQS endpoint of aurora-sync",
            vpc_id=self._vpc_id,
            opts=self._child,
        )
        endpoint = aws.ec2.VpcEndpoint(
            f"{self._name}-sqs",
            vpc_id=self._vpc_id,
            service_name=f"com.amazonaws.{self._settings.aws.region}.sqs",
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=self.subnet_ids,
            security_group_ids=[group.id],
            policy=rendered(
                resource_policies.endpoint,
                account_id=self._settings.aws.account_id,
            ),
            opts=self._child,
        )
        return [endpoint, *self._way("sqs", _HTTPS, group.id)]

    def _way(
        self, to: str, port: int, group_id: pulumi.Input[str]
    ) -> list[pulumi.Resource]:
        """Open both ends of the way to who has a security group."""
        return [
            self._egress(to, port, referenced_security_group_id=group_id),
            self._ingress(to, port, group_id),
        ]

    def _egress(
        self,
        to: str,
        port: int,
        *,
        cidr_ipv4: str | None = None,
        prefix_list_id: pulumi.Input[str] | None = None,
        referenced_security_group_id: pulumi.Input[str] | None = None,
    ) -> pulumi.Resource:
        return aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-to-{to}",
            security_group_id=self.security_group_id,
            description=f"to {to}",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            cidr_ipv4=cidr_ipv4,
            prefix_list_id=prefix_list_id,
            referenced_security_group_id=referenced_security_group_id,
            opts=self._ruled,
        )

    def _ingress(
        self, of: str, port: int, group_id: pulumi.Input[str]
    ) -> pulumi.Resource:
        return aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-into-{of}",
            security_group_id=group_id,
            description="exporter of aurora-sync",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            referenced_security_group_id=self.security_group_id,
            opts=self._ruled,
        )
