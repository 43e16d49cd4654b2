# The whole environment against a mocked provider: what the variables make of it.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "default_is_small_private_and_of_three_zones" {
  command = apply

  assert {
    condition     = output.zones == tolist(["us-east-1a", "us-east-1b", "us-east-1c"])
    error_message = "the first three zones, sorted"
  }

  assert {
    condition     = output.cluster_name == "emporium" && output.repository == "emporium" && output.storage_class == "gp3"
    error_message = "names come from var.name"
  }

  assert {
    condition     = output.registry == "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    error_message = "the registry is the host alone"
  }

  assert {
    condition     = toset(keys(output.repository_urls)) == toset(["frontend", "cache", "catalog", "order", "client"])
    error_message = "a repository for each role's image"
  }

  assert {
    condition     = output.tag == { key = "emporium:environment", value = "emporium" }
    error_message = "the tag by which all is found"
  }

  assert {
    condition     = output.load_balancer_controller_role_arn == null && length(aws_budgets_budget.account) == 0
    error_message = "nothing that wasn't asked for"
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation
    error_message = "the key is rotated"
  }

  assert {
    condition = toset(one(data.aws_iam_policy_document.key.statement[1].condition).values) == toset([
      "arn:aws:logs:us-east-1:123456789012:log-group:/aws/eks/emporium/cluster",
      "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vpc/emporium/flow",
    ])
    error_message = "CloudWatch may use it for these two log groups, as the modules name them"
  }
}

run "arm64_without_types_gets_a_small_graviton" {
  command = plan

  variables {
    architecture = "arm64"
  }

  assert {
    condition     = local.small_instance_type == "t4g.medium" && output.architecture == "arm64"
    error_message = "t4g.medium"
  }
}

run "amd64_without_types_gets_a_small_x86" {
  command = plan

  assert {
    condition     = local.small_instance_type == "t3.medium" && output.architecture == "amd64"
    error_message = "t3.medium"
  }
}

run "a_budget_warns_twice" {
  command = plan

  variables {
    budget_usd_per_month = 50
    budget_emails        = ["someone@example.org"]
  }

  assert {
    condition     = aws_budgets_budget.account[0].limit_amount == "50" && length(aws_budgets_budget.account[0].notification) == 2
    error_message = "at 80 % and when the forecast passes all of it"
  }
}

run "the_load_balancer_controller_gets_a_role_when_asked_for" {
  command = apply

  variables {
    load_balancer_controller = true
  }

  assert {
    condition     = output.load_balancer_controller_role_arn != null
    error_message = "its role"
  }
}

run "everything_larger_is_taken" {
  command = plan

  # The longest name with the longest zones: node groups have 37 letters for them.
  override_data {
    target = module.network.data.aws_availability_zones.standard
    values = { names = ["ap-southeast-2a", "ap-southeast-2b", "ap-southeast-2c"] }
  }

  variables {
    name                 = "emporium-of-lesson-7"
    region               = "ap-southeast-2"
    kubernetes_version   = "1.35"
    vpc_cidr             = "192.168.16.0/20"
    nat_gateways         = 3
    architecture         = "arm64"
    instance_types       = ["m7g.large", "t4g.large", "c7gn.xlarge", "im4gn.large", "a1.large"]
    nodes_per_zone       = { min = 3, desired = 3, max = 4 }
    node_disk_gib        = 100
    api_allowed_cidrs    = ["203.0.113.7/32", "198.51.0.0/16"]
    admin_principal_arns = ["arn:aws:iam::123456789012:role/team/operators", "arn:aws-us-gov:iam::123456789012:user/someone@example.org"]
    log_retention_days   = 365
    tags                 = { "cost centre" = "lab 1" }
    force_delete_images  = true
  }
}
