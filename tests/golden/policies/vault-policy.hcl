path "database/creds/aurora-sync-dev-exporter" {
  capabilities = ["read"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/aurora-sync-dev-exporter/*"]
  }
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
