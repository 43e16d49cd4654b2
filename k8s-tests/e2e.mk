# The store on a real Kubernetes: k8s-tests/README.md. Included by the Makefile at the top.

E2E_PYTEST = $(RUN) -m pytest -s -v -o console_output_style=classic

##@ Prove on Kubernetes

.PHONY: e2e
e2e: e2e-check ## Prove it on Kubernetes, as CI does (NAMES="21 node-cut" REPEATS=3 E2E_KEEP=1)
	@$(E2E_ENV) $(E2E_PYTEST) k8s-tests/tests $(ARGS)

.PHONY: e2e-full
e2e-full: e2e-check ## The same with every scenario, 20 of each kind of deletion (half an hour)
	@E2E_FULL=1 $(E2E_ENV) $(E2E_PYTEST) k8s-tests/tests $(ARGS)

.PHONY: e2e-check
e2e-check: $(READY) ## Test what of it needs no cluster (seconds)
	@MYPYPATH=k8s-tests $(BIN)/mypy -p emporium_e2e
	@$(RUN) -m pytest -q k8s-tests/unit

E2E_ENV = $(if $(NAMES),E2E_NAMES="$(NAMES)") $(if $(REPEATS),E2E_REPEATS=$(REPEATS)) \
  $(if $(ROUNDS),E2E_ROUNDS=$(ROUNDS)) $(if $(PURCHASES),E2E_PURCHASES=$(PURCHASES))
