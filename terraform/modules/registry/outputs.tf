output "host" {
  description = "Host of the registry: ACCOUNT.dkr.ecr.REGION.amazonaws.com."
  value       = split("/", values(aws_ecr_repository.role)[0].repository_url)[0]
}

output "prefix" {
  description = "What the names of the repositories begin with."
  value       = var.prefix
}

output "urls" {
  description = "HOST/PREFIX/ROLE, by role."
  value       = { for role, repository in aws_ecr_repository.role : role => repository.repository_url }
}
