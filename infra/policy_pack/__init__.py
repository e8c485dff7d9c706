"""Rules that Pulumi holds every resource to, before it makes or changes any.

    pulumi preview --policy-pack infra/policy_pack

The rules are functions of what is registered; `pack` gives them to Pulumi, and only
`__main__` starts the server that it asks.
"""
