"""What a rule sees of a resource, and what a rule is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class Unknown(str):
    """A value that is known only once other resources exist.

    It counts as given: the rule asks again when it is known, before the resource is
    made.
    """


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource as it is registered.

    Attributes:
        urn: Its identity.
        type: Pulumi's token.
        name: Its name in the program.
        inputs: What the program sets, in the provider's spelling; secrets unwrapped.
        protect: Whether Pulumi refuses to delete it.
        provider: Name of its provider.
        provider_inputs: What that provider was given.
        needs: URNs of the resources that it refers to.
    """

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    protect: bool = False
    provider: str = ""
    provider_inputs: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The token without its last part: `aws:s3/bucket`."""
        return self.type.rpartition(":")[0]

    @property
    def stack(self) -> str:
        """Name of its stack, as Pulumi writes it into every URN."""
        return self.urn.split(":")[2]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule about each resource by itself.

    Attributes:
        name: Its name; lower case with hyphens.
        description: What must hold.
        check: Says what is wrong with a resource.
        exempt: Names of resources that need not hold it, and why.
    """

    name: str
    description: str
    check: Callable[[Resource], Iterator[str]]
    exempt: Mapping[str, str] = field(default_factory=dict)

    def problems(self, resource: Resource) -> Iterator[str]:
        """Say what is wrong with a resource that must hold the rule."""
        if resource.name not in self.exempt:
            yield from self.check(resource)


@dataclass(frozen=True, kw_only=True)
class StackRule:
    """A rule about resources that belong together.

    Attributes:
        name: Its name.
        description: What must hold.
        check: Says which resource is wrong, and what with it.
        exempt: Names of resources that need not hold it, and why.
    """

    name: str
    description: str
    check: Callable[[Sequence[Resource]], Iterator[tuple[Resource, str]]]
    exempt: Mapping[str, str] = field(default_factory=dict)

    def problems(self, resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
        """Say which of the resources that must hold the rule is wrong."""
        for resource, problem in self.check(resources):
            if resource.name not in self.exempt:
                yield resource, problem
