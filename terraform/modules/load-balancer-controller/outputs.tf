output "role_arn" {
  description = "Role of the controller's pods."
  value       = aws_iam_role.this.arn
}
