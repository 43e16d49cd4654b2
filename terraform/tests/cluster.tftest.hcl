# The module cluster alone.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "emporium"
  kubernetes_version = "1.34"
  private_subnet_ids = { us-east-1a = "subnet-a", us-east-1b = "subnet-b", us-east-1c = "subnet-c" }
  architecture       = "amd64"
  instance_types     = ["t3.medium"]
  nodes_per_zone     = { min = 1, desired = 1, max = 2 }
  node_disk_gib      = 20
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/k"
  log_retention_days = 30
}

run "the_api_is_private_unless_somebody_is_let_in" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "private only"
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"]) && aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.kms_key_arn
    error_message = "secrets are encrypted with the given key"
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5 && aws_cloudwatch_log_group.control_plane.name == "/aws/eks/emporium/cluster"
    error_message = "all logs of the control plane, where EKS writes them"
  }

  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "only access entries let anybody in"
  }

  assert {
    condition     = keys(aws_eks_access_entry.admin) == ["arn:aws:iam::123456789012:role/operators"]
    error_message = "whoever runs Terraform: the role, not its session"
  }
}

run "named_networks_and_administrators_take_their_place" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    api_allowed_cidrs    = ["203.0.113.7/32"]
    admin_principal_arns = ["arn:aws:iam::123456789012:role/a", "arn:aws:iam::123456789012:user/b"]
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.7/32"])
    error_message = "those, and nobody else"
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "nodes still take the private way"
  }

  assert {
    condition     = toset(keys(aws_eks_access_policy_association.admin)) == toset(var.admin_principal_arns)
    error_message = "the named ones, without the caller"
  }
}

run "a_node_group_for_each_zone" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = tomap({ for zone, group in aws_eks_node_group.zone : zone => one(group.subnet_ids) }) == var.private_subnet_ids
    error_message = "each in its own subnet"
  }

  assert {
    condition     = alltrue([for group in aws_eks_node_group.zone : group.ami_type == "AL2023_x86_64_STANDARD" && group.scaling_config[0].desired_size == 1])
    error_message = "of the architecture and the size that was asked for"
  }
}

run "graviton_nodes_start_from_an_image_for_them" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    architecture   = "arm64"
    instance_types = ["t4g.medium"]
  }

  assert {
    condition     = alltrue([for group in aws_eks_node_group.zone : group.ami_type == "AL2023_ARM_64_STANDARD"])
    error_message = "AL2023_ARM_64_STANDARD"
  }
}

run "nodes_keep_their_role_and_their_disk_to_themselves" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv2, out of the pods' reach"
  }

  assert {
    condition     = aws_launch_template.node.block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.node.block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "encrypted gp3"
  }

  assert {
    condition     = toset([for part in aws_launch_template.node.tag_specifications : part.resource_type if part.tags["emporium:environment"] == "emporium"]) == toset(["instance", "network-interface", "volume"])
    error_message = "what EC2 makes for a node carries the environment's tag"
  }

  assert {
    condition     = toset([for attachment in aws_iam_role_policy_attachment.node : basename(attachment.policy_arn)]) == toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])
    error_message = "no networking, no volumes, no pushing of images"
  }
}

run "add_ons_enforce_policies_tag_volumes_and_have_identities" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = toset(concat(keys(aws_eks_addon.before_nodes), keys(aws_eks_addon.after_nodes))) == toset(["aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni"])
    error_message = "all five"
  }

  assert {
    condition     = jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "NetworkPolicies are enforced"
  }

  assert {
    condition     = jsondecode(jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values).env.ADDITIONAL_ENI_TAGS) == { "emporium:environment" = "emporium" }
    error_message = "pods' network interfaces carry the environment's tag"
  }

  assert {
    condition     = jsondecode(aws_eks_addon.after_nodes["aws-ebs-csi-driver"].configuration_values).controller.extraVolumeTags["emporium:environment"] == "emporium"
    error_message = "volumes carry the environment's tag"
  }

  assert {
    condition     = { for name, pod in aws_eks_pod_identity_association.addon : name => pod.service_account } == { vpc-cni = "aws-node", aws-ebs-csi-driver = "ebs-csi-controller-sa" }
    error_message = "the pods that call AWS do it in their own name"
  }

  assert {
    condition     = alltrue([for addon in merge(aws_eks_addon.before_nodes, aws_eks_addon.after_nodes) : addon.addon_version == "v1.2.3-eksbuild.4"])
    error_message = "in the version that fits this Kubernetes"
  }
}

run "a_role_of_an_add_on_is_for_its_own_pods_only" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition = {
      for condition in data.aws_iam_policy_document.pod_trust["vpc-cni"].statement[0].condition :
      condition.variable => one(condition.values)
      } == {
      "aws:RequestTag/eks-cluster-name"           = "emporium"
      "aws:RequestTag/kubernetes-namespace"       = "kube-system"
      "aws:RequestTag/kubernetes-service-account" = "aws-node"
    }
    error_message = "of this cluster, this namespace, this ServiceAccount"
  }

  assert {
    condition     = { for name, attachment in aws_iam_role_policy_attachment.addon : name => basename(attachment.policy_arn) } == { vpc-cni = "AmazonEKS_CNI_Policy", aws-ebs-csi-driver = "AmazonEBSCSIDriverPolicyV2" }
    error_message = "one policy each"
  }
}

run "refuses_a_name_with_capitals" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    name = "Emporium"
  }

  expect_failures = [var.name]
}

run "refuses_a_version_without_minor" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    kubernetes_version = "1"
  }

  expect_failures = [var.kubernetes_version]
}

run "refuses_one_zone" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    private_subnet_ids = { us-east-1a = "subnet-a" }
  }

  expect_failures = [var.private_subnet_ids]
}

run "refuses_another_architecture" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    architecture = "x86_64"
  }

  expect_failures = [var.architecture]
}

run "refuses_no_instance_types" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    instance_types = []
  }

  expect_failures = [var.instance_types]
}

run "refuses_a_zone_without_nodes" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    nodes_per_zone = { min = 0, desired = 1, max = 1 }
  }

  expect_failures = [var.nodes_per_zone]
}

run "refuses_a_disk_too_small" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    node_disk_gib = 8
  }

  expect_failures = [var.node_disk_gib]
}

run "refuses_the_whole_internet" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    api_allowed_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.api_allowed_cidrs]
}

run "refuses_a_session_as_administrator" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    admin_principal_arns = ["arn:aws:sts::123456789012:assumed-role/operators/someone"]
  }

  expect_failures = [var.admin_principal_arns]
}

run "refuses_what_is_no_key" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    kms_key_arn = "alias/emporium"
  }

  expect_failures = [var.kms_key_arn]
}

run "refuses_logs_for_ever" {
  command = plan

  module {
    source = "./tests/variables/cluster"
  }

  variables {
    log_retention_days = 0
  }

  expect_failures = [var.log_retention_days]
}
