variable "name" {
  description = "Name of the environment whose state the bucket keeps; the same as in `terraform/`."
  type        = string
  default     = "emporium"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name: 3 to 20 lower-case letters, digits and single hyphens; the first is a letter, the last no hyphen."
  }
}

variable "region" {
  description = "AWS region of the bucket."
  type        = string
  default     = "us-east-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+){1,2}-[1-9]$", var.region))
    error_message = "region: the code of an AWS region, like us-east-1 or eu-central-1."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete the bucket with the states that it holds. Only after the environment itself is destroyed."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "More tags for every resource."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !can(regex("^(?i)(aws:|emporium:)", key))])
    error_message = "tags: keys beginning with aws: or emporium: are taken."
  }
}

variable "stand_in" {
  description = "For tests: the endpoint of AWS is a stand-in, so ask for no real credentials."
  type        = bool
  default     = false
  nullable    = false
}
