# Emporium on AWS with Terraform: docs/AWS.md. Included by the Makefile at the top, and run from
# there. For all of them:
#   NAME=emporium REGION=us-east-1     which environment (default: these)
#   VARS=my.tfvars                     further variables of terraform/variables.tf
#   DRY_RUN=1                          only print the commands; needs no tools and no account
#   YES=1                              answer the question about money and data
#   UNLOCK=ID                          break the state's lock of a run that was killed

AWS := $(or $(PYTHON),python3) terraform/aws.py
# DRY_RUN and KEEP_STATE, which only hold back, count from the environment too; the others only when
# they are said to make itself: a NAME or a TAG that a shell happens to have is none of ours.
said = $(if $(findstring command line,$(origin $(1))),$($(1)))
option = $(if $(call said,$(1)),$(2) "$(call said,$(1))")
files = $(foreach file,$(call said,$(1)),$(2) "$(file)")
switch = $(if $(filter-out 0,$(call said,$(1))),$(2))
brake = $(if $(filter-out 0,$($(1))),$(2))
unsaid = $(strip $(foreach name,NAME REGION VARS UNLOCK YES VALUES TAG SPREAD,\
  $(if $(findstring environment,$(origin $(name))),$(name))))
notice = $(if $(unsaid),$(info Not taken from the environment: $(unsaid). Say it behind make: \
  make $@ $(firstword $(unsaid))=...))
AWS_OPTIONS = $(notice)$(call option,NAME,--name) $(call option,REGION,--region) \
  $(call files,VARS,--var-file) $(call option,UNLOCK,--unlock) \
  $(call brake,DRY_RUN,--dry-run) $(call switch,YES,--yes)
CHART_OPTIONS = $(call files,VALUES,--values) $(call option,TAG,--tag) $(call option,SPREAD,--spread)

##@ On AWS (all: NAME= REGION= VARS=file DRY_RUN=1 YES=1)

.PHONY: aws-plan
aws-plan: ## Say what aws-up would make, and what it costs a month
	@$(AWS) plan $(AWS_OPTIONS)

.PHONY: aws-up
aws-up: ## Make the environment: network, EKS, registry. Costs money until aws-down
	@$(AWS) up $(AWS_OPTIONS)

.PHONY: aws-push
aws-push: ## Push the images of `make images` to its registry (TAG=)
	@$(AWS) push $(AWS_OPTIONS) $(call option,TAG,--tag)

.PHONY: aws-install
aws-install: ## Install the store there, and test it (VALUES=file SPREAD=nodes TAG=)
	@$(AWS) install $(AWS_OPTIONS) $(CHART_OPTIONS)

.PHONY: aws-e2e
aws-e2e: ## Run the scenarios there, and gather logs and report in output/ (ARGS="1-11 13")
	@$(AWS) e2e $(AWS_OPTIONS) $(CHART_OPTIONS) $(call option,ARGS,--args)

.PHONY: aws-down
aws-down: ## Remove it all, data included, and check that nothing is left (KEEP_STATE=1)
	@$(AWS) down $(AWS_OPTIONS) $(call brake,KEEP_STATE,--keep-state)

.PHONY: terraform-check
terraform-check: $(READY) ## Format, validate, test, apply and destroy on a stand-in, scan
	@$(RUN) terraform/check.py $(ARGS)
