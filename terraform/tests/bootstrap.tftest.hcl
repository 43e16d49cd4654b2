# The bucket of the state alone.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "the_state_is_private_versioned_and_encrypted" {
  command = apply

  module {
    source = "./bootstrap"
  }

  assert {
    condition     = aws_s3_bucket.state.bucket == "emporium-state-123456789012-us-east-1" && !aws_s3_bucket.state.force_destroy
    error_message = "named after environment, account and region; not deleted with states in it"
  }

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "versioned"
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "encrypted with KMS"
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    )
    error_message = "closed to the public, in all four ways"
  }

  assert {
    condition     = data.aws_iam_policy_document.bucket.statement[0].effect == "Deny" && one(data.aws_iam_policy_document.bucket.statement[0].condition).variable == "aws:SecureTransport"
    error_message = "nothing without TLS"
  }

  assert {
    condition     = strcontains(output.backend, "use_lockfile = true") && strcontains(output.backend, "emporium/terraform.tfstate")
    error_message = "what `terraform init -backend-config` reads"
  }
}

run "refuses_a_name_with_capitals" {
  command = plan

  module {
    source = "./tests/variables/bootstrap"
  }

  variables {
    name = "Emporium"
  }

  expect_failures = [var.name]
}

run "refuses_a_zone_for_a_region" {
  command = plan

  module {
    source = "./tests/variables/bootstrap"
  }

  variables {
    region = "us-east-1a"
  }

  expect_failures = [var.region]
}

run "refuses_a_reserved_tag" {
  command = plan

  module {
    source = "./tests/variables/bootstrap"
  }

  variables {
    tags = { "aws:owner" = "somebody" }
  }

  expect_failures = [var.tags]
}
