#!/usr/bin/env bash
# Builds tools from pinned sources, once, into the user's cache folder, and prints their paths:
#   k8s-tests/tools.sh helm kubeconform helm-unittest helm-docs kube-score kubectl kubernetes-openapi \
#     terraform-docs
# Needs Go only for what isn't built yet. Progress goes to standard error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${PYTHON:-python3}" "$here/cluster/cluster.py" tool "$@"
