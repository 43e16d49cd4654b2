"""The scenarios: the seeds' tests 1-8 and ours, 9-16, and Kubernetes' own, 21-37,
each with a computed verdict."""

from emporium.client.scenarios.runner import catalogue, choose, run
from emporium.client.scenarios.stage import Options

__all__ = ["Options", "catalogue", "choose", "run"]
