provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, {
      "emporium:environment" = var.name
      "emporium:managed-by"  = "terraform"
      "emporium:region"      = var.region
    })
  }

  # Credentials of a stand-in open nothing, so there is nothing to ask about them.
  skip_credentials_validation = var.stand_in
  skip_metadata_api_check     = var.stand_in
  skip_region_validation      = var.stand_in
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id

  small_instance_type = { amd64 = "t3.medium", arm64 = "t4g.medium" }[var.architecture]
}

# One key for what this environment keeps: Kubernetes' secrets, images, logs. Volumes are encrypted
# with the account's own EBS key: for another one the account's Auto Scaling would need a grant.
resource "aws_kms_key" "this" {
  description             = "Emporium ${var.name}: secrets, images, logs"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:a policy of a key is about this key alone, whatever "*" says
  #checkov:skip=CKV_AWS_111:as above
  #checkov:skip=CKV_AWS_356:as above
  statement {
    # Without it nobody could ever change this policy again. Who may do what is said by IAM.
    sid       = "AccountByIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid = "LogsOfThisEnvironment"
    actions = [
      "kms:Encrypt*",
      "kms:Decrypt*",
      "kms:ReEncrypt*",
      "kms:GenerateDataKey*",
      "kms:Describe*",
    ]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/eks/${var.name}/cluster",
        "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/vpc/${var.name}/flow",
      ]
    }
  }
}

module "network" {
  source = "./modules/network"

  name               = var.name
  vpc_cidr           = var.vpc_cidr
  nat_gateways       = var.nat_gateways
  kms_key_arn        = aws_kms_key.this.arn
  log_retention_days = var.log_retention_days
}

module "registry" {
  source = "./modules/registry"

  prefix       = var.name
  kms_key_arn  = aws_kms_key.this.arn
  force_delete = var.force_delete_images
}

module "cluster" {
  source = "./modules/cluster"

  name                 = var.name
  kubernetes_version   = var.kubernetes_version
  private_subnet_ids   = module.network.private_subnet_ids
  architecture         = var.architecture
  instance_types       = coalescelist(var.instance_types, [local.small_instance_type])
  nodes_per_zone       = var.nodes_per_zone
  node_disk_gib        = var.node_disk_gib
  api_allowed_cidrs    = var.api_allowed_cidrs
  admin_principal_arns = var.admin_principal_arns
  kms_key_arn          = aws_kms_key.this.arn
  log_retention_days   = var.log_retention_days
}

module "load_balancer_controller" {
  source = "./modules/load-balancer-controller"
  count  = var.load_balancer_controller ? 1 : 0

  cluster_name = module.cluster.name
  vpc_id       = module.network.vpc_id
}

# Of the whole account: costs by tag count only where somebody has activated the tag for billing,
# and a budget that silently counts nothing is worse than one that warns too early.
resource "aws_budgets_budget" "account" {
  count = var.budget_usd_per_month > 0 ? 1 : 0

  name         = "${var.name}-account-monthly"
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd_per_month)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.budget_emails
    }
  }
}
