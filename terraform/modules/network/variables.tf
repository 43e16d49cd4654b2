variable "name" {
  description = "Name of the environment, and of the VPC."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name))
    error_message = "name: lower-case letters, digits and hyphens."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC, an IPv4 network from /16 to /20."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("/(1[6-9]|20)$", var.vpc_cidr)) && can(cidrsubnet(var.vpc_cidr, 4, 0))
    error_message = "vpc_cidr: an IPv4 network from /16 to /20."
  }
}

variable "nat_gateways" {
  description = "1 for all zones, or 3, one in each."
  type        = number
  nullable    = false

  validation {
    condition     = contains([1, 3], var.nat_gateways)
    error_message = "nat_gateways: 1 or 3."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow logs. Its policy lets CloudWatch Logs use it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "How long the flow logs are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days: at least 1."
  }
}
