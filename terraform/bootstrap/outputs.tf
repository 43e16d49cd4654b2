output "bucket" {
  description = "Bucket that keeps the state."
  value       = aws_s3_bucket.state.id
}

output "kms_key_arn" {
  description = "Key that encrypts it."
  value       = aws_kms_key.state.arn
}

output "backend" {
  description = "What `terraform init -backend-config=FILE` wants to read: `terraform output -raw backend`."
  value       = <<-EOT
    bucket       = "${aws_s3_bucket.state.id}"
    key          = "${var.name}/terraform.tfstate"
    region       = "${var.region}"
    kms_key_id   = "${aws_kms_key.state.arn}"
    encrypt      = true
    use_lockfile = true
  EOT

  # A state without all that protects it would be written too early.
  depends_on = [
    aws_s3_bucket_policy.state,
    aws_s3_bucket_public_access_block.state,
    aws_s3_bucket_server_side_encryption_configuration.state,
    aws_s3_bucket_versioning.state,
  ]
}
