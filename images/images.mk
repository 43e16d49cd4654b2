##@ Images

ROLES ?=

.PHONY: images
images: $(READY) ## Build the images, with Docker or without (ROLES="catalog order" TAG=1)
	@$(RUN) images/build.py build $(ROLES) $(if $(TAG),--tag $(TAG))

.PHONY: sbom
sbom: $(READY) ## Say what is in each image, as SPDX, beside the archive of `make images`
	@$(RUN) images/build.py sbom $(ROLES) $(if $(TAG),--tag $(TAG))

.PHONY: images-compare
images-compare: $(READY) ## Build the last commit from two clones and compare the digests
	@$(RUN) images/build.py compare $(ROLES)
