"""What moto's EKS forgets of clusters and node groups, and what it makes up, put right."""

from __future__ import annotations

import json
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from stand_in.answers import sent

OK: Final = 200
# moto makes these up where nothing was sent, and loses the last.
GROUP_SETTINGS: Final = ("remoteAccess", "diskSize", "taints", "updateConfig", "nodeRepairConfig")


class Memory:
    """The bodies with which clusters and node groups were made."""

    def __init__(self) -> None:
        self._clusters: dict[str, dict[str, Any]] = {}
        self._groups: dict[tuple[str, str], dict[str, Any]] = {}

    def mend(self, request: Request, answer: Response) -> Response:
        """An answer of moto's as EKS would have given it."""
        if answer.status_code != OK or not (answer.mimetype or "").endswith("json"):
            return answer
        body = json.loads(answer.get_data() or b"{}")
        if cluster := body.get("cluster"):
            self._mend_cluster(request, cluster)
        if group := body.get("nodegroup"):
            self._mend_group(request, group)
        answer.set_data(json.dumps(body))
        return answer

    def _mend_cluster(self, request: Request, cluster: dict[str, Any]) -> None:
        name = cluster["name"]
        if request.method == "POST" and request.path == "/clusters":
            self._clusters[name] = sent(request)
        made = self._clusters.get(name, {})
        cluster["accessConfig"] = made.get("accessConfig") or {"authenticationMode": "CONFIG_MAP"}
        cluster["upgradePolicy"] = made.get("upgradePolicy") or {"supportType": "EXTENDED"}
        cluster["resourcesVpcConfig"] |= {
            "vpcId": "vpc-of-the-cluster",
            "clusterSecurityGroupId": "sg-of-the-cluster",
        }

    def _mend_group(self, request: Request, group: dict[str, Any]) -> None:
        key = (group["clusterName"], group["nodegroupName"])
        body = sent(request) if request.method == "POST" else {}
        if "nodegroupName" in body:
            self._groups[key] = body
        made = self._groups.get(key, {})
        for name in GROUP_SETTINGS:
            group.pop(name, None)
            if made.get(name):
                group[name] = made[name]
        cluster = self._clusters.get(key[0], {})
        group["version"] = made.get("version") or cluster.get("version") or group["version"]
