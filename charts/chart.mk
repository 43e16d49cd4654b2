##@ Chart

.PHONY: chart-check
chart-check: $(READY) ## Lint, validate, test and render the chart; compare images of two clones
	@$(RUN) charts/check.py check

.PHONY: chart-render
chart-render: $(READY) ## Write the chart's examples and README anew, to be reviewed as diffs
	@$(RUN) charts/check.py render
