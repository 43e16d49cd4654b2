"""AWS, as far as this configuration asks it: moto, and what moto lacks of EKS.

    python -m stand_in            prints its address, and stops when its standard input closes

moto answers EC2, IAM, KMS, ECR, S3, logs, budgets and the tagging of all of them. Its EKS knows
clusters and node groups, and forgets parts of both, so that a second plan would replace them; it
has no add-ons, access entries or pod identities at all. Those are here.

It proves the graph, the shape of the arguments, that a second plan is empty and that everything can
be destroyed in order. It knows no permission, no quota, no version that doesn't exist, and starts
no machine: that a cluster comes up is not proved.
"""
