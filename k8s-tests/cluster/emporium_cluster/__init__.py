"""A real Kubernetes on one Linux machine, without Docker and without a registry.

Every node is a set of Linux namespaces (network, mount, process ids) at a bridge. The bridge, and
the control plane, live in one more network namespace, the *fabric*. So nothing reaches the
machine's own network; a node is cut off by taking down its cable, and crashes when the first
process of its namespaces is killed.

    machine ── 127.0.0.1:PORT ──┐
    ┌─ fabric ──────────────────┴───────────────────────────────┐
    │ etcd, API server, controllers, scheduler, provisioner     │
    │ br0 198.18.0.1 ── veth-node-1 ── veth-node-2 ── ...       │
    └──────────────────────┼───────────────┼────────────────────┘
                        node-1          node-2      containerd, kubelet, kube-proxy, pods

House rules:

- **Cgroups are the register.** Every process that is started joins a cgroup of this cluster
  before it becomes itself; there are no pid files. What runs is what the cgroups list, whoever
  started it and however that one ended.
- **What is left is looked for, not remembered.** `remains` asks the kernel and the disk for
  everything of this cluster; `down` removes that, and is done when nothing is found.
- **Every wait has a deadline**, and its failure says what was waited for and where to look.
- **What can't work is refused before anything is touched**, with what to do about it.
"""
