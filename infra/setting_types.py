"""Kinds of values in `Pulumi.<stack>.yaml`, by the form that services give them."""

from typing import Annotated

from msgspec import Meta

# Neither empty nor with spaces around it, which nobody sees in a file.
Text = Annotated[str, Meta(pattern=r"^\S(.*\S)?\Z")]
Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=1, le=65535, description="TCP port")]

# What AWS made; each kind is told from the others by how it begins.
VpcId = Annotated[str, Meta(pattern=r"^vpc-[0-9a-z]+\Z")]
SubnetId = Annotated[str, Meta(pattern=r"^subnet-[0-9a-z]+\Z")]
RouteTableId = Annotated[str, Meta(pattern=r"^rtb-[0-9a-z]+\Z")]
GroupId = Annotated[str, Meta(pattern=r"^sg-[0-9a-z]+\Z")]

# Regions of the partition `aws` and no others, as botocore's partitions.json has them.
_REGION = r"^(af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[0-9]{1,2}"
Region = Annotated[str, Meta(pattern=_REGION + r"\Z")]
Zone = Annotated[str, Meta(pattern=_REGION + r"[a-z]\Z")]

# A path at Vault, which adds the slashes around it itself.
VaultPath = Annotated[str, Meta(pattern=r"^[\w.-]+(/[\w.-]+)*\Z")]

# Who is told of alarms.
Email = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+\Z")]
HttpsUrl = Annotated[str, Meta(pattern=r"^https://[^\s/]+[^\s]*\Z")]


def upper_name(kind: str) -> Meta:
    """Return the form of a Snowflake name that needs no quotes.

    Args:
        kind: What bears the name.
    """
    return Meta(
        pattern=r"^[A-Z_][A-Z0-9_$]*\Z",
        max_length=200,
        description=f"name of the {kind} in upper case, without quotes",
    )
