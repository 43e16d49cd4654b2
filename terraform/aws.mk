# Emporium on AWS with Terraform: docs/AWS.md. Included by the Makefile at the top, and run from
# there. For all of them:
#   NAME=emporium REGION=us-east-1     which environment (default: these)
#   VARS=my.tfvars                     further variables of terraform/variables.tf
#   DRY_RUN=1                          only print the commands; needs no tools and no account
#   YES=1                              answer the question about money and data
#   UNLOCK=ID                          break the state's lock of a run that was killed

AWS := $(or $(PYTHON),python3) terraform/aws.py
AWS_OPTIONS = --name "$(or $(NAME),emporium)" $(if $(REGION),--region "$(REGION)") \
  $(foreach file,$(VARS),--var-file "$(file)") $(if $(filter-out 0,$(DRY_RUN)),--dry-run) \
  $(if $(filter-out 0,$(YES)),--yes) $(if $(UNLOCK),--unlock "$(UNLOCK)")
CHART_OPTIONS = $(foreach file,$(VALUES),--values "$(file)") $(if $(TAG),--tag "$(TAG)") \
  $(if $(SPREAD),--spread "$(SPREAD)")

##@ On AWS (all: NAME= REGION= VARS=file DRY_RUN=1 YES=1)

.PHONY: aws-plan
aws-plan: ## Say what aws-up would make, and what it costs a month
	@$(AWS) plan $(AWS_OPTIONS)

.PHONY: aws-up
aws-up: ## Make the environment: network, EKS, registry. Costs money until aws-down
	@$(AWS) up $(AWS_OPTIONS)

.PHONY: aws-push
aws-push: ## Push the images of `make images` to its registry (TAG=)
	@$(AWS) push $(AWS_OPTIONS) $(if $(TAG),--tag "$(TAG)")

.PHONY: aws-install
aws-install: ## Install the store there, and test it (VALUES=file SPREAD=nodes TAG=)
	@$(AWS) install $(AWS_OPTIONS) $(CHART_OPTIONS)

.PHONY: aws-e2e
aws-e2e: ## Run the scenarios there, and gather logs and report in output/ (ARGS="1-11 13")
	@$(AWS) e2e $(AWS_OPTIONS) $(CHART_OPTIONS) $(if $(ARGS),--args "$(ARGS)")

.PHONY: aws-down
aws-down: ## Remove it all, data included, and check that nothing is left (KEEP_STATE=1)
	@$(AWS) down $(AWS_OPTIONS) $(if $(filter-out 0,$(KEEP_STATE)),--keep-state)

.PHONY: terraform-check
terraform-check: $(READY) ## Format, validate, test, apply and destroy on a stand-in, scan
	@$(RUN) terraform/check.py $(ARGS)
