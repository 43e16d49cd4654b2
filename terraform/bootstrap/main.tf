# Where Terraform keeps the state of the environment. Its own state stays on this machine: it comes
# before the bucket. The lock is a file in the bucket, made by the backend (use_lockfile).

provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, {
      "emporium:state-of"   = var.name
      "emporium:managed-by" = "terraform"
    })
  }

  skip_credentials_validation = var.stand_in
  skip_metadata_api_check     = var.stand_in
  skip_region_validation      = var.stand_in
  s3_use_path_style           = var.stand_in
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  # Names of buckets are the world's: the account and the region make this one ours.
  bucket = "${var.name}-state-${data.aws_caller_identity.current.account_id}-${var.region}"
}

resource "aws_kms_key" "state" {
  description             = "Terraform's state of Emporium ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "state" {
  name          = "alias/${var.name}-state"
  target_key_id = aws_kms_key.state.key_id
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
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }
}

resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18:a log of who reads the state would need a bucket of its own; CloudTrail has it
  #checkov:skip=CKV_AWS_144:versions are the way back; a state can be imported anew, a second region is not worth it
  #checkov:skip=CKV2_AWS_61:all versions are kept: they are small, and the way back
  #checkov:skip=CKV2_AWS_62:nobody waits for an event
  bucket        = local.bucket
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket = aws_s3_bucket.state.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# All versions are kept: they are small, and the way back after an accident.
resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    # One call of KMS for many objects.
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id
  policy = data.aws_iam_policy_document.bucket.json

  depends_on = [aws_s3_bucket_public_access_block.state]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "EncryptedConnectionsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
