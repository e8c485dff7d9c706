from infra.policy_pack.pack import serve

serve()
