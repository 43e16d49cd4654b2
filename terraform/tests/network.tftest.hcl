# The module network alone.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "emporium"
  vpc_cidr           = "10.20.0.0/16"
  nat_gateways       = 1
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/k"
  log_retention_days = 30
}

run "three_quarters_are_private_and_the_public_are_24s" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.20.0.0/18", "10.20.64.0/18", "10.20.128.0/18"]
    error_message = "found ${jsonencode([for subnet in aws_subnet.private : subnet.cidr_block])}"
  }

  assert {
    condition     = [for subnet in aws_subnet.public : subnet.cidr_block] == ["10.20.192.0/24", "10.20.193.0/24", "10.20.194.0/24"]
    error_message = "found ${jsonencode([for subnet in aws_subnet.public : subnet.cidr_block])}"
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : !subnet.map_public_ip_on_launch])
    error_message = "nothing gets a public address by accident"
  }
}

run "the_smallest_network_still_has_24s" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    vpc_cidr = "192.168.16.0/20"
  }

  assert {
    condition     = [for subnet in aws_subnet.public : subnet.cidr_block] == ["192.168.28.0/24", "192.168.29.0/24", "192.168.30.0/24"]
    error_message = "found ${jsonencode([for subnet in aws_subnet.public : subnet.cidr_block])}"
  }
}

run "one_nat_gateway_serves_all_zones" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_route.nat) == 3
    error_message = "one gateway, three routes"
  }

  assert {
    condition     = toset(values(local.nat_of)) == toset(["us-east-1a"])
    error_message = "all of them to the first zone"
  }
}

run "three_nat_gateways_serve_their_own_zone" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    nat_gateways = 3
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && alltrue([for zone, nat in local.nat_of : zone == nat])
    error_message = "each zone its own"
  }
}

run "load_balancers_find_their_subnets" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition = alltrue(concat(
      [for subnet in aws_subnet.public : subnet.tags["kubernetes.io/role/elb"] == "1"],
      [for subnet in aws_subnet.private : subnet.tags["kubernetes.io/role/internal-elb"] == "1"],
    ))
    error_message = "by the tags that Kubernetes looks for"
  }
}

run "traffic_is_logged_and_images_come_past_the_nat_gateway" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.retention_in_days == 30
    error_message = "all traffic is logged, and not for ever"
  }

  assert {
    condition     = aws_cloudwatch_log_group.flow.name == "/aws/vpc/emporium/flow"
    error_message = "where the environment's key lets CloudWatch encrypt"
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "S3 past the NAT gateway, free of charge"
  }

  assert {
    condition = {
      for statement in data.aws_iam_policy_document.s3_endpoint.statement :
      one(statement.actions) => [for condition in statement.condition : condition.variable]
    } == { "s3:GetObject" = [], "s3:*" = ["aws:ResourceAccount"] }
    error_message = "reading anywhere, everything else in the account's own buckets"
  }
}

run "refuses_a_region_with_two_zones" {
  command = plan

  module {
    source = "./modules/network"
  }

  override_data {
    target = data.aws_availability_zones.standard
    values = { names = ["us-west-1a", "us-west-1c"] }
  }

  expect_failures = [data.aws_availability_zones.standard]
}

run "refuses_a_name_with_capitals" {
  command = plan

  module {
    source = "./tests/variables/network"
  }

  variables {
    name = "Emporium"
  }

  expect_failures = [var.name]
}

run "refuses_a_network_too_small" {
  command = plan

  module {
    source = "./tests/variables/network"
  }

  variables {
    vpc_cidr = "10.20.0.0/21"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_two_nat_gateways" {
  command = plan

  module {
    source = "./tests/variables/network"
  }

  variables {
    nat_gateways = 2
  }

  expect_failures = [var.nat_gateways]
}

run "refuses_what_is_no_key" {
  command = plan

  module {
    source = "./tests/variables/network"
  }

  variables {
    kms_key_arn = "alias/emporium"
  }

  expect_failures = [var.kms_key_arn]
}

run "refuses_logs_for_ever" {
  command = plan

  module {
    source = "./tests/variables/network"
  }

  variables {
    log_retention_days = 0
  }

  expect_failures = [var.log_retention_days]
}
