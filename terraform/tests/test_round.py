"""There and back with everything switched on, on the stand-in; the defaults are the chain's.

Without a budget: moto doesn't know whom it tells.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conftest import StandIn, copy

EVERYTHING = """\
name                     = "whole"
nat_gateways             = 3
architecture             = "arm64"
nodes_per_zone           = { min = 1, desired = 2, max = 4 }
api_allowed_cidrs        = ["203.0.113.7/32"]
admin_principal_arns     = ["arn:aws:iam::123456789012:role/operators"]
load_balancer_controller = true
force_delete_images      = true
tags                     = { cost-centre = "lessons" }
"""


def test_everything_switched_on_goes_there_and_back(
    tmp_path: Path, stand_in: StandIn, terraform_settings: dict[str, str]
) -> None:
    """Apply, an empty second plan, destroy, an empty state, nothing left by its tag."""
    root = copy(tmp_path)
    configuration = root / "terraform"
    (configuration / "backend.tf").unlink()
    (configuration / "terraform.tfvars").write_text(EVERYTHING, "utf-8")

    def terraform(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            ["terraform", f"-chdir={configuration}", *words],
            env={**os.environ, **stand_in.environment, **terraform_settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    terraform("init", "-input=false", "-no-color")
    terraform("apply", "-input=false", "-auto-approve", "-no-color")
    assert len(stand_in.tagged("whole")) > 20
    terraform("plan", "-input=false", "-detailed-exitcode", "-no-color", code=0)
    terraform("destroy", "-input=false", "-auto-approve", "-no-color")
    assert terraform("state", "list") == ""
    left = [arn for arn in stand_in.tagged("whole") if ":kms:" not in arn]
    assert [arn for arn in left if ":natgateway/" not in arn] == []
