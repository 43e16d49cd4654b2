# Every variable of the environment refuses what it can't use, before anything is made. The
# modules in variables/ are somebody's variables.tf alone: without a provider a run takes no time.

run "refuses_a_name_with_capitals" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    name = "Emporium"
  }

  expect_failures = [var.name]
}

run "refuses_a_name_too_long" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    name = "emporium-of-the-whole-world"
  }

  expect_failures = [var.name]
}

run "refuses_a_name_with_two_hyphens" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    name = "emporium--two"
  }

  expect_failures = [var.name]
}

run "refuses_a_zone_for_a_region" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    region = "us-east-1a"
  }

  expect_failures = [var.region]
}

run "refuses_an_old_kubernetes" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    kubernetes_version = "1.29"
  }

  expect_failures = [var.kubernetes_version]
}

run "refuses_a_patch_level" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    kubernetes_version = "1.34.4"
  }

  expect_failures = [var.kubernetes_version]
}

run "refuses_a_public_network" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    vpc_cidr = "8.8.0.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_host_bits_in_the_network" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    vpc_cidr = "10.20.1.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_a_network_too_small" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    vpc_cidr = "10.20.0.0/24"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_two_nat_gateways" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    nat_gateways = 2
  }

  expect_failures = [var.nat_gateways]
}

run "refuses_another_architecture" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    architecture = "x86_64"
  }

  expect_failures = [var.architecture]
}

run "refuses_no_instance_type" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    instance_types = ["medium"]
  }

  expect_failures = [var.instance_types]
}

run "refuses_graviton_for_amd64" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    instance_types = ["t3.medium", "t4g.medium"]
  }

  expect_failures = [var.instance_types]
}

run "refuses_x86_for_arm64" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    architecture   = "arm64"
    instance_types = ["c7i.large"]
  }

  expect_failures = [var.instance_types]
}

run "refuses_an_instance_type_twice" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    instance_types = ["t3.medium", "t3.medium"]
  }

  expect_failures = [var.instance_types]
}

run "refuses_a_zone_without_nodes" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    nodes_per_zone = { min = 0 }
  }

  expect_failures = [var.nodes_per_zone]
}

run "refuses_more_nodes_wanted_than_allowed" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    nodes_per_zone = { desired = 3, max = 2 }
  }

  expect_failures = [var.nodes_per_zone]
}

run "refuses_half_a_node" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    nodes_per_zone = { desired = 1.5 }
  }

  expect_failures = [var.nodes_per_zone]
}

run "refuses_a_disk_too_small" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    node_disk_gib = 8
  }

  expect_failures = [var.node_disk_gib]
}

run "refuses_the_whole_internet" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    api_allowed_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.api_allowed_cidrs]
}

run "refuses_host_bits_in_an_allowed_network" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    api_allowed_cidrs = ["203.0.113.7/24"]
  }

  expect_failures = [var.api_allowed_cidrs]
}

run "refuses_an_allowed_network_twice" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    api_allowed_cidrs = ["203.0.113.7/32", "203.0.113.7/32"]
  }

  expect_failures = [var.api_allowed_cidrs]
}

run "refuses_a_session_as_administrator" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    admin_principal_arns = ["arn:aws:sts::123456789012:assumed-role/operators/someone"]
  }

  expect_failures = [var.admin_principal_arns]
}

run "refuses_an_administrator_twice" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    admin_principal_arns = ["arn:aws:iam::123456789012:role/a", "arn:aws:iam::123456789012:role/a"]
  }

  expect_failures = [var.admin_principal_arns]
}

run "refuses_a_retention_that_cloudwatch_lacks" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_a_negative_budget" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    budget_usd_per_month = -1
  }

  expect_failures = [var.budget_usd_per_month]
}

run "refuses_what_is_no_mail_address" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    budget_usd_per_month = 50
    budget_emails        = ["someone"]
  }

  expect_failures = [var.budget_emails]
}

run "refuses_a_budget_that_tells_nobody" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    budget_usd_per_month = 50
  }

  expect_failures = [var.budget_emails]
}

run "refuses_a_reserved_tag" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    tags = { "emporium:environment" = "other" }
  }

  expect_failures = [var.tags]
}

run "refuses_an_equals_sign_in_a_tag" {
  command = plan

  module {
    source = "./tests/variables/environment"
  }

  variables {
    tags = { lab = "a=b" }
  }

  expect_failures = [var.tags]
}
