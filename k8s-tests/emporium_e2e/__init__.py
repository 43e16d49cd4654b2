"""The store on a real Kubernetes, from outside: everything that a pod can't do for itself.

    workload   installs the store, starts the scenario job, serves it, fetches its report
    nemesis    the hands that the job asks for: processes, disks, nodes, Helm, the API server
    cluster    which Kubernetes that is, and what can be done to it
    session    one run, from its settings to the page
    client     kubectl and helm as subprocesses, HTTP through a port-forward
    checker    what the report comes to: verdicts, bars, and the page that is kept

The scenarios themselves, their load and their checks run in the job's pod and are those of one
machine (`emporium.client`). House rules:

- **Black box.** kubectl, helm, cluster.py, docker: what a person could type. No Kubernetes library.
- **Every wait has a deadline**, and its failure says what was waited for and what there was.
- **What is broken is mended**, whatever happens in between: `Nemesis` notes how before it begins.
- **Nothing is skipped silently**: what isn't run is in `not_run.toml` with its reason, or fails.
"""
