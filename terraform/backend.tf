# Bucket, key, region and encryption key come from `terraform/bootstrap`, by -backend-config.
terraform {
  backend "s3" {}
}
