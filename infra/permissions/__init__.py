"""The one table of permissions: who may do what, why, and which test holds it.

Every policy that the program deploys is rendered from these rows, by the functions of
`infra.policies` and `infra.resource_policies`; the policy pack refuses a statement that
is no row, and docs/SECURITY.md shows the table. To add a permission, add its row to
`roles`, `snowflake_roles` or `resources` and the test that it names; the tests of the
table fail until that test fails without it.
"""

from infra.permissions import resources, roles, snowflake_roles
from infra.permissions.row import Policy, Row

ROWS: tuple[Row, ...] = (
    *roles.ROWS,
    *snowflake_roles.ROWS,
    *resources.ROWS,
)


def rows_of(policy: Policy) -> tuple[Row, ...]:
    """Return the rows of one policy, in their order."""
    return tuple(row for row in ROWS if row.policy == policy)


POLICIES: tuple[Policy, ...] = tuple(dict.fromkeys(row.policy for row in ROWS))
