module emporium/cluster/helpers

go 1.24.0
