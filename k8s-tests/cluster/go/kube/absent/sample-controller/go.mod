// Never imported. Kubernetes names it in its go.mod, and no module server has it.
module k8s.io/sample-controller

go 1.24.0
