# The module registry alone.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  prefix      = "emporium"
  kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/k"
}

run "images_are_immutable_scanned_and_encrypted" {
  command = apply

  module {
    source = "./modules/registry"
  }

  assert {
    condition     = toset([for repository in aws_ecr_repository.role : repository.name]) == toset(["emporium/frontend", "emporium/cache", "emporium/catalog", "emporium/order", "emporium/client"])
    error_message = "PREFIX/ROLE, as the chart names images"
  }

  assert {
    condition = alltrue([
      for repository in aws_ecr_repository.role :
      repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push &&
      repository.encryption_configuration[0].kms_key == var.kms_key_arn && !repository.force_delete
    ])
    error_message = "immutable, scanned, encrypted, and not deleted with images in them"
  }

  assert {
    condition     = alltrue([for policy in aws_ecr_lifecycle_policy.role : length(jsondecode(policy.policy).rules) == 2])
    error_message = "old images go"
  }

  assert {
    condition     = output.host == "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    error_message = "the host alone"
  }
}

run "refuses_a_prefix_with_capitals" {
  command = plan

  module {
    source = "./tests/variables/registry"
  }

  variables {
    prefix = "Emporium"
  }

  expect_failures = [var.prefix]
}

run "refuses_no_roles" {
  command = plan

  module {
    source = "./tests/variables/registry"
  }

  variables {
    roles = []
  }

  expect_failures = [var.roles]
}

run "refuses_what_is_no_key" {
  command = plan

  module {
    source = "./tests/variables/registry"
  }

  variables {
    kms_key_arn = "alias/emporium"
  }

  expect_failures = [var.kms_key_arn]
}

run "refuses_to_keep_one_image_only" {
  command = plan

  module {
    source = "./tests/variables/registry"
  }

  variables {
    kept_images = 1
  }

  expect_failures = [var.kept_images]
}
