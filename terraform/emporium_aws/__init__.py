"""Runs Emporium's Terraform, and what Terraform doesn't do: images, Helm, the tests, the way back.

    settings    what was asked for, and where things are kept
    commands    runs or, in a dry run, prints the programs
    tools       whether the programs and the credentials are there
    terraform   init, plan, apply, destroy; the provider's mirror
    state       the bucket of the state, before and after everything else
    cost        what a plan costs in a month, and the question whether to go on
    store       the cluster's kubeconfig, the chart's values, Helm
    push, e2e, down      one module for each target that has more to do
    sweep       what Kubernetes made and Terraform doesn't know
    leftovers   what still carries the environment's tag

Standard library only: it has to run before anything of the project is installed.
"""
