# For more than a lesson: nodes that don't run on credits, room for a second node in each zone,
# a zone's failure touches only what is in it, a year of logs.
architecture       = "arm64"
instance_types     = ["m7g.large"]
nodes_per_zone     = { min = 1, desired = 2, max = 4 }
node_disk_gib      = 50
nat_gateways       = 3
log_retention_days = 365
