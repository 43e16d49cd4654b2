# Nine nodes: every pod of the store on a machine of its own, as in the first seed's test 9.
#   make aws-up VARS=terraform/sizes/separate.tfvars
#   make aws-e2e SPREAD=nodes
nodes_per_zone = { min = 3, desired = 3, max = 4 }
