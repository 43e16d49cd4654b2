# A real Kubernetes on this machine (Linux and root), without Docker: k8s-tests/cluster/README.md.
# Included by the Makefile at the top, and run from there.

NODES ?= 3
CLUSTER := $(or $(PYTHON),python3) k8s-tests/cluster/cluster.py

##@ Kubernetes on this machine

.PHONY: cluster-up
cluster-up: ## Start a Kubernetes of namespaces; needs root (NODES=3)
	@$(CLUSTER) up $(NODES)

.PHONY: cluster-down
cluster-down: ## Remove it, whatever state it is in
	@$(CLUSTER) down

.PHONY: cluster-status
cluster-status: ## Say what of it runs
	@$(CLUSTER) status

.PHONY: cluster-load
cluster-load: ## Put images into every node (IMAGES="a.tar b.tar")
	@$(CLUSTER) load $(IMAGES)

.PHONY: cluster-kubeconfig
cluster-kubeconfig: ## Print the path of its kubeconfig, for kubectl and helm
	@$(CLUSTER) kubeconfig

.PHONY: cluster-drill
cluster-drill: ## Bring about a fault (DO="cut node-2", "freeze catalog-0 -n shop", ...)
	@$(CLUSTER) $(or $(DO),--help)

.PHONY: cluster-build
cluster-build: ## Build what it needs, once, into the user's cache (later targets do it themselves)
	@$(CLUSTER) build

.PHONY: cluster-packages
cluster-packages: ## Install the Debian packages that it and the images need; needs root
	@$(CLUSTER) packages

.PHONY: cluster-test
cluster-test: $(READY) ## Test the tool itself (as root with everything built: a cluster, too)
	@$(RUN) -m pytest -q k8s-tests/cluster/tests $(ARGS)
