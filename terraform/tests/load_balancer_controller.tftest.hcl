# The identity of the load balancer controller alone.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  cluster_name = "emporium"
  vpc_id       = "vpc-0123456789abcdef0"
}

run "the_controllers_pods_get_the_role" {
  command = plan

  module {
    source = "./modules/load-balancer-controller"
  }

  assert {
    condition     = aws_eks_pod_identity_association.this.service_account == "aws-load-balancer-controller" && aws_eks_pod_identity_association.this.namespace == "kube-system"
    error_message = "where its chart puts them"
  }
}

run "refuses_a_cluster_with_capitals" {
  command = plan

  module {
    source = "./tests/variables/load-balancer-controller"
  }

  variables {
    cluster_name = "Emporium"
  }

  expect_failures = [var.cluster_name]
}

run "refuses_what_is_no_vpc" {
  command = plan

  module {
    source = "./tests/variables/load-balancer-controller"
  }

  variables {
    vpc_id = "subnet-1"
  }

  expect_failures = [var.vpc_id]
}
