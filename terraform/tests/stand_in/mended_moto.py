"""Changes to moto itself, where an answer can't be mended from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ecr.models import ecr_backends
from moto.eks.models import eks_backends
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend


def mend() -> None:
    """Make the changes; once, before the first request."""
    _keep_templates_apart_from_their_tags()
    _find_clusters_and_repositories_by_tag()
    _count_every_connection_as_encrypted()


def _keep_templates_apart_from_their_tags() -> None:
    """moto gives the tags of a launch template back as tags for what is launched."""
    original = LaunchTemplate.create_version

    def create_version(template: LaunchTemplate, data: dict[str, Any], description: str) -> Any:
        kept = [
            each
            for each in data.get("TagSpecifications", [])
            if each.get("ResourceType") != "launch-template"
        ]
        rest = {key: value for key, value in data.items() if key != "TagSpecifications"}
        return original(template, rest | ({"TagSpecifications": kept} if kept else {}), description)

    LaunchTemplate.create_version = create_version


def _find_clusters_and_repositories_by_tag() -> None:
    """moto's tagging API doesn't know EKS and ECR; that of AWS does."""
    original = ResourceGroupsTaggingAPIBackend._get_resources_generator

    def resources(
        backend: ResourceGroupsTaggingAPIBackend,
        tag_filters: list[dict[str, Any]] | None = None,
        resource_type_filters: list[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        yield from original(backend, tag_filters, resource_type_filters)
        for name, tags in _tagged(backend.account_id, backend.region_name):
            if all(_fits(tags, wanted) for wanted in tag_filters or []):
                shown = [{"Key": key, "Value": value} for key, value in tags.items()]
                yield {"ResourceARN": name, "Tags": shown}

    ResourceGroupsTaggingAPIBackend._get_resources_generator = resources


def _tagged(account: str, region: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The names and tags of clusters, node groups and image repositories."""
    for cluster in eks_backends[account][region].clusters.values():
        yield cluster.arn, cluster.tags
        for group in cluster.nodegroups.values():
            yield group.arn, group.tags
    registry = ecr_backends[account][region]
    for repository in registry.repositories.values():
        yield repository.arn, registry.tagger.get_tag_dict_for_resource(repository.arn)


def _fits(tags: dict[str, str], wanted: dict[str, Any]) -> bool:
    """Whether the tags have the key, with one of the values where some are given."""
    key, values = wanted["Key"], wanted.get("Values") or []
    return key in tags and (not values or tags[key] in values)


def _count_every_connection_as_encrypted() -> None:
    """moto refuses whoever a statement denies, whatever the statement's condition is; so a bucket
    that takes encrypted connections only would take none."""
    original = IAMPolicyStatement.is_action_permitted

    def is_action_permitted(statement: IAMPolicyStatement, *given: Any, **named: Any) -> Any:
        conditions = statement._statement.get("Condition", {}).get("Bool", {})
        if conditions.get("aws:SecureTransport") == "false":
            return PermissionResult.NEUTRAL
        return original(statement, *given, **named)

    IAMPolicyStatement.is_action_permitted = is_action_permitted
