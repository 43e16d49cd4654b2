variable "cluster_name" {
  description = "Name of the EKS cluster."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.cluster_name)) && length(var.cluster_name) <= 36
    error_message = "cluster_name: up to 36 lower-case letters, digits and hyphens."
  }
}

variable "vpc_id" {
  description = "VPC of the cluster: security groups of others stay as they are."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id: the id of a VPC, vpc-..."
  }
}
