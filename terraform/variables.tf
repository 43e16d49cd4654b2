variable "name" {
  description = "Name of this environment, one of its kind in the account: IAM knows no regions. Every name begins with it, and every resource carries it as the tag `emporium:environment`."
  type        = string
  default     = "emporium"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name: 3 to 20 lower-case letters, digits and single hyphens; the first is a letter, the last no hyphen."
  }
}

variable "region" {
  description = "AWS region. It needs three availability zones."
  type        = string
  default     = "us-east-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+){1,2}-[1-9]$", var.region))
    error_message = "region: the code of an AWS region, like us-east-1 or eu-central-1."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes. EKS upgrades one minor version at a time, and never goes back."
  type        = string
  default     = "1.35"
  nullable    = false

  validation {
    condition     = can(regex("^1\\.(3[4-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version: a minor version from \"1.34\" on, without patch level, like \"1.35\"."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC. Three quarters are private subnets, one for each zone; three /24 of the last quarter are public."
  type        = string
  default     = "10.20.0.0/16"
  nullable    = false

  validation {
    condition = (
      can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)[0-9.]+/(1[6-9]|20)$", var.vpc_cidr)) &&
      try(cidrsubnet(var.vpc_cidr, 0, 0) == var.vpc_cidr, false)
    )
    error_message = "vpc_cidr: a private IPv4 network from /16 to /20 without host bits, like 10.20.0.0/16."
  }
}

variable "nat_gateways" {
  description = "1: one NAT gateway for all zones, cheap; nodes lose the internet when its zone fails. 3: one in each zone."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 3], var.nat_gateways)
    error_message = "nat_gateways: 1 (one for all zones) or 3 (one in each)."
  }
}

variable "architecture" {
  description = "Processors of the nodes, and so of the images: `amd64` or `arm64` (Graviton)."
  type        = string
  default     = "amd64"
  nullable    = false

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "architecture: amd64 or arm64."
  }
}

variable "instance_types" {
  description = "Instance types of the nodes, all of one architecture, the preferred first. Empty: the small one of the architecture, `t3.medium` or `t4g.medium`."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for type in var.instance_types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    error_message = "instance_types: names like t3.medium; found ${jsonencode(var.instance_types)}."
  }

  validation {
    # Graviton: the family's letters after its generation have a g (t4g, c7gn, im4gn), or it is a1.
    condition = alltrue([
      for type in var.instance_types :
      can(regex("^(a1|[a-z]+[0-9]+[a-z]*g[a-z]*)\\.", type)) == (var.architecture == "arm64")
    ])
    error_message = "instance_types: ${jsonencode(var.instance_types)} has a type that isn't ${var.architecture}; say architecture = \"arm64\" for Graviton types, \"amd64\" for others."
  }

  validation {
    condition     = length(var.instance_types) == length(distinct(var.instance_types)) && length(var.instance_types) <= 20
    error_message = "instance_types: at most 20, none of them twice."
  }
}

variable "nodes_per_zone" {
  description = "Nodes in each of the three zones. Volumes are zonal: a zone keeps at least one node, so that a replica can always go back to its disk."
  type = object({
    min     = optional(number, 1)
    desired = optional(number, 1)
    max     = optional(number, 2)
  })
  default  = {}
  nullable = false

  validation {
    condition = (
      1 <= var.nodes_per_zone.min && var.nodes_per_zone.min <= var.nodes_per_zone.desired &&
      var.nodes_per_zone.desired <= var.nodes_per_zone.max && var.nodes_per_zone.max <= 30
    )
    error_message = "nodes_per_zone: 1 <= min <= desired <= max <= 30."
  }

  validation {
    condition     = alltrue([for count in values(var.nodes_per_zone) : floor(count) == count])
    error_message = "nodes_per_zone: whole numbers."
  }
}

variable "node_disk_gib" {
  description = "Root volume of a node in GiB: images, logs, scratch. The store's data have volumes of their own."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.node_disk_gib >= 20 && var.node_disk_gib <= 1000 && floor(var.node_disk_gib) == var.node_disk_gib
    error_message = "node_disk_gib: a whole number from 20 to 1000."
  }
}

variable "api_allowed_cidrs" {
  description = "IPv4 networks that may reach the Kubernetes API over the internet, like your own address as `203.0.113.7/32`. Empty: no public endpoint; then kubectl and Helm work from inside the VPC only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for cidr in var.api_allowed_cidrs :
      can(regex("^[0-9.]+/(1[6-9]|2[0-9]|3[0-2])$", cidr)) && try(cidrsubnet(cidr, 0, 0) == cidr, false)
    ])
    error_message = "api_allowed_cidrs: IPv4 networks from /16 to /32 without host bits, like 203.0.113.7/32; found ${jsonencode(var.api_allowed_cidrs)}."
  }

  validation {
    condition     = length(var.api_allowed_cidrs) == length(distinct(var.api_allowed_cidrs)) && length(var.api_allowed_cidrs) <= 40
    error_message = "api_allowed_cidrs: at most 40, none of them twice."
  }
}

variable "admin_principal_arns" {
  description = "IAM roles and users who administer the cluster. Empty: whoever runs Terraform. Name them where more than one person does."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.admin_principal_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "admin_principal_arns: ARNs of IAM roles or users, like arn:aws:iam::123456789012:role/operators (of the role itself, not of a session of it); found ${jsonencode(var.admin_principal_arns)}."
  }

  validation {
    condition     = length(var.admin_principal_arns) == length(distinct(var.admin_principal_arns))
    error_message = "admin_principal_arns: none of them twice."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the control plane's logs and the network's flow logs."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days
    )
    error_message = "log_retention_days: what CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "budget_usd_per_month" {
  description = "Mail when the account's costs of a month pass 80 % of this, or are forecast to pass all of it. 0: no budget."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.budget_usd_per_month >= 0 && var.budget_usd_per_month <= 1000000
    error_message = "budget_usd_per_month: 0 (no budget) to 1000000."
  }
}

variable "budget_emails" {
  description = "Who gets the budget's mails."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for mail in var.budget_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", mail))])
    error_message = "budget_emails: mail addresses; found ${jsonencode(var.budget_emails)}."
  }

  validation {
    condition     = length(var.budget_emails) <= 10
    error_message = "budget_emails: at most 10."
  }

  validation {
    condition     = (var.budget_usd_per_month > 0) == (length(var.budget_emails) > 0)
    error_message = "budget_emails: a budget needs somebody to tell, and addresses need a budget; set both budget_usd_per_month and budget_emails, or neither."
  }
}

variable "load_balancer_controller" {
  description = "Make the IAM identity of the AWS Load Balancer Controller. The controller itself is a Helm chart, see docs/AWS.md."
  type        = bool
  default     = false
  nullable    = false
}

variable "force_delete_images" {
  description = "Let `terraform destroy` delete repositories that still hold images."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "More tags for every resource, like a cost centre."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.tags :
      can(regex("^[A-Za-z0-9 _.:/+@-]{1,128}$", key)) && can(regex("^[A-Za-z0-9 _.:/+@-]{0,256}$", value))
    ])
    # The driver that makes volumes takes them as KEY=VALUE.
    error_message = "tags: keys of 1 to 128 and values of up to 256 letters, digits, spaces and _.:/+@- (no equals sign)."
  }

  validation {
    condition     = alltrue([for key in keys(var.tags) : !can(regex("^(?i)(aws:|emporium:)", key))])
    error_message = "tags: keys beginning with aws: or emporium: are taken."
  }

  validation {
    condition     = length(var.tags) <= 40
    error_message = "tags: at most 40."
  }
}

variable "stand_in" {
  description = "For tests: the endpoint of AWS is a stand-in, so ask for no real credentials."
  type        = bool
  default     = false
  nullable    = false
}
