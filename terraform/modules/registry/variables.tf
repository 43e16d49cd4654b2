variable "prefix" {
  description = "What the names of the repositories begin with: PREFIX/ROLE."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.prefix))
    error_message = "prefix: lower-case letters, digits and hyphens."
  }
}

variable "roles" {
  description = "Roles that have an image."
  type        = set(string)
  default     = ["frontend", "cache", "catalog", "order", "client"]
  nullable    = false

  validation {
    condition     = alltrue([for role in var.roles : can(regex("^[a-z]+$", role))]) && length(var.roles) > 0
    error_message = "roles: at least one, of lower-case letters."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the images."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key."
  }
}

variable "kept_images" {
  description = "How many images of each role are kept; the oldest go first."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.kept_images >= 2 && floor(var.kept_images) == var.kept_images
    error_message = "kept_images: a whole number, at least 2: the running one and the one to go back to."
  }
}

variable "force_delete" {
  description = "Delete repositories that still hold images."
  type        = bool
  default     = false
  nullable    = false
}
