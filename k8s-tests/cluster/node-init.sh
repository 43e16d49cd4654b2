#!/usr/bin/env bash
# The first process of a node, started in fresh mount and process-id namespaces and in the node's
# network. It arranges the mounts so that nothing that a node does stays on the machine, then
# starts the node's daemons. When it ends, the kernel ends everything in the node.
set -euo pipefail
: "${NODE:?}" "${NODE_ADDRESS:?}" "${NODE_FOLDER:?}" "${NODE_VOLUMES:?}" "${CLUSTER_STATE:?}"
programs=$CLUSTER_STATE/bin
logs=$CLUSTER_STATE/log

mount --make-rprivate /
mount -t proc proc /proc

# /run and /var/lib are the node's own; only the cluster's folder stays in sight.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/containerd /run/lock /run/state /run/settings
mount --bind "$CLUSTER_STATE" /run/state
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p "$CLUSTER_STATE" /var/lib/cni /var/lib/kubelet "$NODE_VOLUMES"
mount --move /run/state "$CLUSTER_STATE"
mount --bind "$NODE_FOLDER/kubelet" /var/lib/kubelet
mount --bind "$NODE_FOLDER/volumes" "$NODE_VOLUMES"
mount --bind "$NODE_FOLDER/log" /var/log
# kubelet insists on these settings of the kernel, which are the whole machine's: it may have them
# in files of its own.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    own=/run/settings/${setting//\//.}
    cat "/proc/sys/$setting" >"$own"
    mount --bind "$own" "/proc/sys/$setting"
done
mount --make-rshared /

containerd --config "$NODE_FOLDER/containerd.toml" >>"$logs/$NODE-containerd.log" 2>&1 &
for ((tries = 0; ; tries++)); do
    if [ "$tries" -eq 600 ]; then
        echo "containerd doesn't answer within a minute" >&2
        exit 1
    fi
    if [ -S "$NODE_FOLDER/containerd.sock" ] &&
        ctr --address "$NODE_FOLDER/containerd.sock" version >/dev/null 2>&1; then
        break
    fi
    sleep 0.1
done
"$programs/kubelet" --config "$NODE_FOLDER/kubelet.json" \
    --kubeconfig "$CLUSTER_STATE/pki/$NODE.kubeconfig" \
    --node-ip "$NODE_ADDRESS" --hostname-override "$NODE" >>"$logs/$NODE-kubelet.log" 2>&1 &
"$programs/kube-proxy" --config "$NODE_FOLDER/kube-proxy.json" \
    >>"$logs/$NODE-kube-proxy.log" 2>&1 &
# What the node's containers leave behind is reaped here, too. A node without one of its daemons is
# none: it ends, and its state is plain.
wait -n
echo "a daemon of $NODE has ended" >&2
exit 1
