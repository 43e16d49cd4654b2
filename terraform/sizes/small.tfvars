# As cheap as three zones get: small Graviton nodes. Build the images for arm64. A node holds 11 pods
# and 2 GiB: the store fits on three, but not on two, so a drained node leaves pods waiting,
# and `make aws-e2e`, whose store stands beside the installed one, needs six.
architecture       = "arm64"
instance_types     = ["t4g.small"]
log_retention_days = 7
