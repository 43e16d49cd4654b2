output "region" {
  description = "AWS region."
  value       = var.region
}

output "zones" {
  description = "The three availability zones that have nodes, sorted."
  value       = module.network.zones
}

output "cluster_name" {
  description = "Name of the EKS cluster, as `aws eks update-kubeconfig --name` wants it."
  value       = module.cluster.name
}

output "cluster_endpoint" {
  description = "Address of the Kubernetes API."
  value       = module.cluster.endpoint
}

output "vpc_id" {
  description = "The VPC; the load balancer controller wants to be told."
  value       = module.network.vpc_id
}

output "architecture" {
  description = "What the images are built for: `amd64` or `arm64`."
  value       = var.architecture
}

output "registry" {
  description = "Host of the images' registry: `image.registry` of the chart."
  value       = module.registry.host
}

output "repository" {
  description = "Prefix of the images: `image.repository` of the chart. An image is REGISTRY/REPOSITORY/ROLE."
  value       = module.registry.prefix
}

output "repository_urls" {
  description = "Where each role's image is pushed to, by role."
  value       = module.registry.urls
}

output "storage_class" {
  description = "StorageClass of the replicas' volumes. `terraform/kubernetes/storageclass.yaml` makes it."
  value       = "gp3"
}

output "load_balancer_controller_role_arn" {
  description = "Role of the AWS Load Balancer Controller, or null."
  value       = one(module.load_balancer_controller[*].role_arn)
}

output "tag" {
  description = "The tag by which everything of this environment is found."
  value       = { key = "emporium:environment", value = var.name }
}
