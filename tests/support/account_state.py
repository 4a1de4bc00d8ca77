"""The state of an account and a folder, as lines to compare: all resources and all files."""

import json
import re
from base64 import b64decode
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from sandbox.api_calls import client
from sandbox.inventory import describe_resources, list_resources
from tests.support import REGION

VARIABLE_PARTS = "|".join(  # parts that differ from run to run
    [
        r"(?<=pcluster-ubuntu-)[a-z0-9]{16}\b",  # pcluster's folder in its bucket
        r'(?<=VersionNumber": )\d+',  # of a launch template: each update adds one
        r"(?<=_)[0-9a-f]{12}\b|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"203\.0\.113\.\d+(?!/)|ip-10-0-\d+-\d+",
        r"(vpc|subnet|sg|i|eni|fs|fsmt|dopt|eipalloc|nat|igw|rtb|vol|lt)-[0-9a-f]{8,17}\b",
        r"[0-9a-f]{32,}|([0-9a-f]{2}:){15,}[0-9a-f]{2}|key-[0-9a-f]{17}",
        r"\d{12,14}|\b[A-Z0-9]{11,24}\b|-key-[A-Za-z]{6}\b",
        r"\b10\.\d+\.\d+\.\d+(?!/)",
        r"\b(ip|ec2)(-\d+){4}",
        r"\b02(:[0-9a-f]{2}){5}",
        r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|\+0000)?",
        r'(?<=Id": ")[a-z0-9]{20,21}(?=")',  # ids of IAM
        r'(?<="Size": )\d{5,}',  # of a dashboard, which contains addresses
        r"\b(eni-attach|dopt|acl|vpc-cidr-assoc|fsmt|[a-z]+-?assoc)-[0-9a-f]+",
    ]
)


def mask_ids(text: str) -> str:
    """Replace the parts of a text that differ from run to run."""
    return re.sub(VARIABLE_PARTS, "ID", text)


def read_state() -> list[str]:
    """Return the state as sorted lines."""
    resources = [
        f"{resource.kind} "
        + json.dumps(
            [resource.id, resource.detail, make_comparable(description)], sort_keys=True, default=encode_value
        )
        for resource, description in describe_resources(REGION).items()
    ]
    files = [
        f"file {path.name} {oct(path.stat().st_mode)} {read_without_keys(path)}" for path in list_files()
    ]
    return sorted(mask_ids(line) for line in [*resources, *check_secret_values(), *files])


def make_comparable(description: dict[str, Any]) -> dict[str, Any]:
    """Return AWS's description of a resource in a form to compare.

    User data becomes text, so that its ids are masked. Of a secret's versions, only the stages are kept. The
    stack parameters that name the archive of pcluster's code are removed, because it contains a time.
    """
    replaced: dict[str, Any] = {}
    if encoded := (description.get("describe_instance_attribute UserData") or {}).get("Value", ""):
        replaced["describe_instance_attribute UserData"] = b64decode(encoded).decode()
    if versions := description.get("SecretVersionsToStages"):
        replaced["SecretVersionsToStages"] = sorted(stages for stages in versions.values() if stages)
    if parameters := description.get("Parameters"):
        replaced["Parameters"] = [
            parameter
            for parameter in parameters
            if not parameter["ParameterKey"].startswith("AssetParameters")
        ]
    return description | replaced


def list_files() -> list[Path]:
    """Return the files in the current folder and in ~/.ssh, without the caches of boto3 and pcluster."""
    paths = [*Path().rglob("*"), *(Path.home() / ".ssh").rglob("*")]
    return sorted(path for path in paths if path.is_file())


def read_without_keys(path: Path) -> str:
    """Return a file's text, with a private key and the JWT key replaced."""
    text = path.read_text()
    if path.suffix == ".pem":
        return re.sub(r"[A-Za-z0-9+/=]{20,}", "KEY", text)
    return re.sub(r"(?<=SLURM_JWT_KEY=)[A-Za-z0-9_-]{43}$", "KEY", text, flags=re.MULTILINE)


def check_secret_values() -> list[str]:
    """Return for each secret a line that says whether it contains a key of the right form."""
    secretsmanager = client("secretsmanager", REGION)
    values = [
        secretsmanager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
        for secret in secretsmanager.list_secrets()["SecretList"]
    ]
    return [f"value {bool(re.fullmatch(r'[A-Za-z0-9_-]{43}', value))}" for value in values]


def encode_value(value: Any) -> str:
    """Return a fixed word for a time, and text for any other value that JSON does not support."""
    return "time" if isinstance(value, datetime) else str(value)


def compare_states(expected: list[str], actual: list[str]) -> list[str]:
    """Return the missing and the unexpected lines of the actual state."""
    missing, extra = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
    return [*(f"missing: {line}" for line in missing), *(f"too much: {line}" for line in extra)]


def drop_leftovers(state: list[str]) -> list[str]:
    """Remove the lines about what teardown keeps.

    These are files, secrets to be deleted, pcluster's own bucket with its objects, and tags of used tokens.
    """
    kept = "file ", "secret to be deleted ", 'bucket ["parallelcluster-', 'object ["s3://parallelcluster-'
    lines = [line for line in state if not line.startswith(kept)]
    tag = r'(, )?\{"Key": "slurm-cluster:spent-client-token", "Value": "\w+"\}'
    return [re.sub(tag, "", line) for line in lines]


def read_decisions(folder: Path = Path()) -> dict[str, Any]:
    """Return everything that the steps decide, without ids.

    Args:
        folder: with the files of the cluster.
    """
    ec2, s3, secretsmanager, iam = (
        client(service, REGION) for service in ("ec2", "s3", "secretsmanager", "iam")
    )
    [instance] = [
        instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        if {"Key": "slurm-cluster", "Value": "pcluster-ubuntu"} in instance.get("Tags", [])
    ]
    attribute = {"InstanceId": instance["InstanceId"], "Attribute": "userData"}
    volumes = ec2.describe_volumes(Filters=[{"Name": "tag:slurm-cluster", "Values": ["*"]}])["Volumes"]
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    [bucket] = [name for name in buckets if name.startswith("slurm-cluster")]
    [secret] = secretsmanager.list_secrets()["SecretList"]
    policies = iam.list_policies(Scope="Local")["Policies"]
    [policy] = [policy for policy in policies if "jwt" in policy["PolicyName"]]
    version = {"PolicyArn": policy["Arn"], "VersionId": policy["DefaultVersionId"]}
    properties = ("InstanceType", "ImageId", "KeyName", "MetadataOptions", "Tags")
    key = secretsmanager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
    decisions = {
        "account": sorted(tuple(map(mask_ids, resource)) for resource in list_resources(REGION)),
        "instance": {name: instance[name] for name in properties}
        | {"groups": len(instance["SecurityGroups"]), "public": "PublicIpAddress" in instance},
        "user data": b64decode(ec2.describe_instance_attribute(**attribute)["UserData"]["Value"]).decode(),
        "volumes": [(volume["Size"], volume["Encrypted"], volume["VolumeType"]) for volume in volumes],
        "private": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        "encryption": s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
        "bucket policy": yaml.safe_load(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
        "key": re.sub(r"[A-Za-z0-9_-]", "x", key),
        "secret": (secret["Name"], secret["Tags"]),
        "policy": iam.get_policy_version(**version)["PolicyVersion"]["Document"],
        "files": {
            name: (folder / name).read_text().strip()
            for name in ("config.yml", "uqle.env", "config-parameters.json")
        },
    }
    return yaml.safe_load(mask_ids(yaml.safe_dump(decisions)))
