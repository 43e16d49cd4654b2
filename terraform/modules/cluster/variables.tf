variable "name" {
  description = "Name of the cluster, and what the names of its roles begin with."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name)) && length(var.name) <= 40
    error_message = "name: up to 40 lower-case letters, digits and hyphens."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, of the control plane, the nodes and the add-ons."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version: a minor version like \"1.34\"."
  }
}

variable "private_subnet_ids" {
  description = "Private subnets by availability zone: each gets a node group, and an address of the control plane."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "private_subnet_ids: EKS needs subnets in two zones at least."
  }
}

variable "architecture" {
  description = "Processors of the nodes: `amd64` or `arm64`."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "architecture: amd64 or arm64."
  }
}

variable "instance_types" {
  description = "Instance types of the nodes, the preferred first."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.instance_types) > 0
    error_message = "instance_types: at least one."
  }
}

variable "nodes_per_zone" {
  description = "Nodes in each zone."
  type = object({
    min     = number
    desired = number
    max     = number
  })
  nullable = false

  validation {
    condition = (
      1 <= var.nodes_per_zone.min && var.nodes_per_zone.min <= var.nodes_per_zone.desired &&
      var.nodes_per_zone.desired <= var.nodes_per_zone.max
    )
    error_message = "nodes_per_zone: 1 <= min <= desired <= max."
  }
}

variable "node_disk_gib" {
  description = "Root volume of a node in GiB."
  type        = number
  nullable    = false

  validation {
    condition     = var.node_disk_gib >= 20
    error_message = "node_disk_gib: at least 20, what the nodes' image takes."
  }
}

variable "api_allowed_cidrs" {
  description = "Networks that may reach the Kubernetes API over the internet. Empty: no public endpoint."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.api_allowed_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "api_allowed_cidrs: IPv4 networks, and never the whole internet."
  }
}

variable "admin_principal_arns" {
  description = "IAM roles and users who administer the cluster. Empty: whoever runs Terraform."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.admin_principal_arns : can(regex("^arn:aws[a-z-]*:iam::", arn))])
    error_message = "admin_principal_arns: ARNs of IAM roles or users."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts Kubernetes' secrets and the control plane's logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "How long the control plane's logs are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days: at least 1."
  }
}
