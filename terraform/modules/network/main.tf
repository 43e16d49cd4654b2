data "aws_caller_identity" "current" {}

data "aws_availability_zones" "standard" {
  #checkov:skip=CKV_AWS_394:the first three by name; a new zone comes after them

  # In any state: a zone that is impaired for an hour must not move the subnets.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }

  # EKS puts no control plane there, says its user guide.
  exclude_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3"]

  lifecycle {
    postcondition {
      condition     = length(self.names) >= 3
      error_message = "The region has ${length(self.names)} usable availability zones; a majority that survives the loss of one needs three."
    }
  }
}

locals {
  zones = slice(sort(data.aws_availability_zones.standard.names), 0, 3)

  # Four quarters: one for the nodes and pods of each zone; of the last, /24s for what is public.
  quarters       = [for number in range(4) : cidrsubnet(var.vpc_cidr, 2, number)]
  prefix_length  = tonumber(split("/", var.vpc_cidr)[1])
  private_blocks = { for number, zone in local.zones : zone => local.quarters[number] }
  public_blocks = {
    for number, zone in local.zones :
    zone => cidrsubnet(local.quarters[3], 24 - 2 - local.prefix_length, number)
  }

  nat_zones = slice(local.zones, 0, var.nat_gateways)
  # Where the traffic of a zone goes out.
  nat_of = { for number, zone in local.zones : zone => local.nat_zones[min(number, var.nat_gateways - 1)] }
}

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

# What names no security group gets this one: nothing in, nothing out.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-default-closed" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.public_blocks

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = {
    Name                     = "${var.name}-public-${each.key}"
    "kubernetes.io/role/elb" = "1"
  }
}

resource "aws_subnet" "private" {
  for_each = local.private_blocks

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = {
    Name                              = "${var.name}-private-${each.key}"
    "kubernetes.io/role/internal-elb" = "1"
  }
}

resource "aws_eip" "nat" {
  for_each = toset(local.nat_zones)

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }

  # An address can be released only while the gateway is there.
  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = toset(local.nat_zones)

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  route_table_id = aws_route_table.public.id
  subnet_id      = each.value.id
}

# One table for each zone, also with one NAT gateway: from one to three only routes change.
resource "aws_route_table" "private" {
  for_each = local.private_blocks

  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route" "nat" {
  for_each = local.nat_of

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[each.value].id
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  route_table_id = aws_route_table.private[each.key].id
  subnet_id      = each.value.id
}

# Layers of images come from S3: past the NAT gateway, which would be paid for by the gigabyte.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${data.aws_region.current.name}.s3"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  policy            = data.aws_iam_policy_document.s3_endpoint.json

  tags = { Name = "${var.name}-s3" }
}

data "aws_region" "current" {}

data "aws_iam_policy_document" "s3_endpoint" {
  #checkov:skip=CKV_AWS_108:an endpoint grants nothing: it narrows what IAM grants
  #checkov:skip=CKV_AWS_356:as above
  statement {
    # Registries (ECR, and others with mirrors on S3) hand out layers from buckets of their own.
    sid       = "ReadLayers"
    actions   = ["s3:GetObject"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }

  statement {
    # Nothing can be carried out to a bucket of somebody else.
    sid       = "OwnBucketsOnly"
    actions   = ["s3:*"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338:a year of logs costs more than a small store; log_retention_days can say 365
  name              = "/aws/vpc/${var.name}/flow"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = aws_iam_role.flow.arn
  max_aggregation_interval = 600

  tags = { Name = var.name }
}

resource "aws_iam_role" "flow" {
  name               = "${var.name}-flow-logs"
  description        = "Writes the flow logs of the VPC ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.flow_trust.json
}

data "aws_iam_policy_document" "flow_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    # Flow logs of this account only.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role_policy" "flow" {
  name   = "write"
  role   = aws_iam_role.flow.id
  policy = data.aws_iam_policy_document.flow.json
}

data "aws_iam_policy_document" "flow" {
  statement {
    actions = [
      "logs:CreateLogStream",
      "logs:DescribeLogStreams",
      "logs:PutLogEvents",
    ]
    resources = [aws_cloudwatch_log_group.flow.arn, "${aws_cloudwatch_log_group.flow.arn}:*"]
  }

  statement {
    # It can't be narrowed to one group.
    actions   = ["logs:DescribeLogGroups"]
    resources = ["*"]
  }
}
