output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "zones" {
  description = "The three availability zones, sorted."
  value       = local.zones
}

output "private_subnet_ids" {
  description = "Private subnets by zone: of nodes and pods."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }

  # Whoever uses a subnet needs its way out: nodes pull images as soon as they start, and have to
  # reach AWS until they are gone.
  depends_on = [
    aws_route.internet,
    aws_route.nat,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_endpoint.s3,
  ]
}

output "public_subnet_ids" {
  description = "Public subnets by zone: of NAT gateways and load balancers."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }
}
