"""What a person may do, compared with the policies of permissions.json and permissions-pcluster.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slurm_cluster import files
from slurm_cluster.aws import clients

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

IAM = Path(__file__).parents[2] / "iam"
FILES = (
    IAM / "permissions.json",
    IAM / "permissions-pcluster.json",
)  # what the tasks call, and what pcluster calls
EXAMPLE_CLUSTER = "pcluster-ubuntu"  # whose names stand in the files
# One action of each kind that the files name with a *: the simulation takes no patterns
EXAMPLE_ACTIONS = {
    "cloudformation:Describe*": "cloudformation:DescribeStacks",
    "cloudformation:Get*": "cloudformation:GetTemplate",
    "cloudformation:List*": "cloudformation:ListStacks",
    "ec2:Describe*": "ec2:DescribeInstances",
    "elasticfilesystem:*": "elasticfilesystem:CreateFileSystem",
    "elasticfilesystem:Describe*": "elasticfilesystem:DescribeFileSystems",
    "s3:*": "s3:CreateBucket",
    "s3:Get*": "s3:GetObject",
    "s3:List*": "s3:ListBucket",
}


class PolicyScope(NamedTuple):
    """Whose permissions are looked at, and for what."""

    cluster: str
    region: str
    account: str


def load_policy(path: Path, place: PolicyScope) -> dict[str, Any]:
    """Give a policy of ours for another cluster and partition, as `sed` makes it in the README."""
    text = (
        files.read_text(path)
        .replace(EXAMPLE_CLUSTER, place.cluster)
        .replace("arn:aws:", f"arn:{clients.get_partition(place.region)}:")
    )
    whole: dict[str, Any] = json.loads(text)
    return whole


def get_principal_arn(caller: str) -> str:
    """Give the user or role whose policies count for a caller: of an assumed role, that role.

    Args:
        caller: its ARN, as STS has it; the path of a role is not in it, and IAM then does not know the role.

    """
    assumed = re.fullmatch(r"(arn:[^:]+):sts::(\d+):assumed-role/([^/]+)/.+", caller)
    return f"{assumed[1]}:iam::{assumed[2]}:role/{assumed[3]}" if assumed else caller


def find_missing_actions(iam: IAMClient, caller: str, path: Path, place: PolicyScope) -> list[str]:
    """Give the actions of a policy that a caller's own policies do not allow; nothing is done by asking.

    Args:
        iam: a client of IAM.
        caller: its ARN, as STS has it.
        path: the policy.
        place: the cluster that it is to be for.

    """
    denied: set[str] = set()
    for statement in load_policy(path, place)["Statement"]:
        resources = [fill_pattern(arn, place) for arn in as_list(statement["Resource"]) if arn != "*"]
        keys = {
            key: as_list(values)[0]
            for each in statement.get("Condition", {}).values()
            for key, values in each.items()
        }
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=get_principal_arn(caller),
            ActionNames=[EXAMPLE_ACTIONS.get(action, action) for action in as_list(statement["Action"])],
            ResourceArns=resources or ["*"],
            ContextEntries=[
                {
                    "ContextKeyName": key,
                    "ContextKeyValues": [value.replace("*", "x")],
                    "ContextKeyType": "string",
                }
                for key, value in keys.items()
            ],
        )
        told = [result for page in pages for result in page["EvaluationResults"]]
        denied |= {result["EvalActionName"] for result in told if result["EvalDecision"] != "allowed"}
    return sorted(denied)


def fill_pattern(arn: str, place: PolicyScope) -> str:
    """Give the ARN of one thing for which a pattern stands."""
    start, partition, service, region, account, name = arn.split(":", 5)
    region, account = region.replace("*", place.region), account.replace("*", place.account)
    return ":".join([start, partition, service, region, account, name.replace("*", "x")])


def as_list(one_or_more: Any) -> list[str]:
    """Give a list, where IAM takes one thing without a list too."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
