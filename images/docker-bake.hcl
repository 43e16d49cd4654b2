# The images for both platforms, into a registry of yours:
#   REGISTRY=registry.example/emporium VERSION=0.1.0 docker buildx bake -f images/docker-bake.hcl --push

variable "REGISTRY" {
  default = "localhost/emporium"
}

variable "VERSION" {
  default = "0.1.0"
}

# Of the commit, and where its source can be had: no label where it isn't given.
variable "REVISION" {
  default = ""
}

variable "SOURCE" {
  default = ""
}

group "default" {
  targets = ["image"]
}

target "image" {
  name = role
  matrix = {
    role = ["frontend", "cache", "catalog", "order", "client"]
  }
  context    = "."
  dockerfile = "images/${role}/Dockerfile"
  tags       = ["${REGISTRY}/${role}:${VERSION}"]
  platforms  = ["linux/amd64", "linux/arm64"]
  labels = {
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.revision" = REVISION != "" ? REVISION : null
    "org.opencontainers.image.source"   = SOURCE != "" ? SOURCE : null
  }
}
