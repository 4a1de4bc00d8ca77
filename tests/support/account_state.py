"""The whole state that tasks leave: everything in the account with all that AWS tells of it, and the files."""

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

DIFFERS = "|".join(  # from run to run
    [
        r"(?<=pcluster-ubuntu-)[a-z0-9]{16}\b",  # pcluster's folder in its bucket
        r'(?<=VersionNumber": )\d+',  # a launch template's: each update adds one
        r"(?<=_)[0-9a-f]{12}\b|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"203\.0\.113\.\d+(?!/)|ip-10-0-\d+-\d+",
        r"(vpc|subnet|sg|i|eni|fs|fsmt|dopt|eipalloc|nat|igw|rtb|vol|lt)-[0-9a-f]{8,17}\b",
        r"[0-9a-f]{32,}|([0-9a-f]{2}:){15,}[0-9a-f]{2}|key-[0-9a-f]{17}",
        r"\d{12,14}|\b[A-Z0-9]{11,24}\b|-key-[A-Za-z]{6}\b",
        r"\b10\.\d+\.\d+\.\d+(?!/)",
        r"\b(ip|ec2)(-\d+){4}",
        r"\b02(:[0-9a-f]{2}){5}",
        r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|\+0000)?",
        r'(?<=Id": ")[a-z0-9]{20,21}(?=")',  # IAM's
        r'(?<="Size": )\d{5,}',  # a dashboard's: there are addresses in it
        r"\b(eni-attach|dopt|acl|vpc-cidr-assoc|fsmt|[a-z]+-?assoc)-[0-9a-f]+",
    ]
)


def normal(text: str) -> str:
    """Give a text without what differs from run to run."""
    return re.sub(DIFFERS, "ID", text)


def picture() -> list[str]:
    """Give the state as lines, which can be compared."""
    things = [
        f"{thing.kind} {json.dumps([thing.id, thing.detail, readable(told)], sort_keys=True, default=plain)}"
        for thing, told in describe_resources(REGION).items()
    ]
    files = [f"file {path.name} {oct(path.stat().st_mode)} {text(path)}" for path in all_files()]
    return sorted(normal(line) for line in [*things, *keys(), *files])


def readable(told: dict[str, Any]) -> dict[str, Any]:
    """Give what AWS tells of a thing so that it can be compared.

    User data is text, in which there are ids. A secret's versions have only their stages. Of a stack's parameters those go
    that name the archive of pcluster's code: in it is the time at which it was packed.
    """
    more: dict[str, Any] = {}
    if encoded := (told.get("describe_instance_attribute UserData") or {}).get("Value", ""):
        more["describe_instance_attribute UserData"] = b64decode(encoded).decode()
    if versions := told.get("SecretVersionsToStages"):
        more["SecretVersionsToStages"] = sorted(stages for stages in versions.values() if stages)
    if parameters := told.get("Parameters"):
        more["Parameters"] = [
            each for each in parameters if not each["ParameterKey"].startswith("AssetParameters")
        ]
    return told | more


def all_files() -> list[Path]:
    """Give the files of the current folder and of the home folder, but for what boto3 and pcluster keep for themselves."""
    found = [*Path().rglob("*"), *(Path.home() / ".ssh").rglob("*")]
    return sorted(path for path in found if path.is_file())


def text(path: Path) -> str:
    """Give what is in a file; of a private key and of the JWT key only their form."""
    whole = path.read_text()
    if path.suffix == ".pem":
        return re.sub(r"[A-Za-z0-9+/=]{20,}", "KEY", whole)
    return re.sub(r"(?<=SLURM_JWT_KEY=)[A-Za-z0-9_-]{43}$", "KEY", whole, flags=re.MULTILINE)


def keys() -> list[str]:
    """Say of each secret whether a key of the right form is in it."""
    manager = client("secretsmanager", REGION)
    values = [
        manager.get_secret_value(SecretId=each["ARN"])["SecretString"]
        for each in manager.list_secrets()["SecretList"]
    ]
    return [f"value {bool(re.fullmatch(r'[A-Za-z0-9_-]{43}', value))}" for value in values]


def plain(value: Any) -> str:
    """Give a time as a word, and whatever else JSON does not know as text."""
    return "time" if isinstance(value, datetime) else str(value)


def difference(expected: list[str], found: list[str]) -> list[str]:
    """Say what is missing in a state, and what is too much."""
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    return [*(f"missing: {line}" for line in missing), *(f"too much: {line}" for line in extra)]


def of_account(state: list[str]) -> list[str]:
    """Give a state without what taking away leaves on purpose: files, a secret that is to be deleted, a launch that is over."""
    kept = [line for line in state if not line.startswith(("file ", "secret to be deleted "))]
    return [
        re.sub(r'(, )?\{"Key": "slurm-cluster:spent-client-token", "Value": "\w+"\}', "", line)
        for line in kept
    ]


def read_decisions(folder: Path = Path()) -> dict[str, Any]:
    """Return all that the steps decide, without ids.

    Args:
        folder: where the steps were done.
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
    [bucket] = [b["Name"] for b in s3.list_buckets()["Buckets"] if b["Name"].startswith("slurm-cluster")]
    [secret] = secretsmanager.list_secrets()["SecretList"]
    [policy] = [p for p in iam.list_policies(Scope="Local")["Policies"] if "jwt" in p["PolicyName"]]
    version = {"PolicyArn": policy["Arn"], "VersionId": policy["DefaultVersionId"]}
    keys = ("InstanceType", "ImageId", "KeyName", "MetadataOptions", "Tags")
    found = {
        "account": sorted(tuple(map(normal, thing)) for thing in list_resources(REGION)),
        "instance": {key: instance[key] for key in keys}
        | {"groups": len(instance["SecurityGroups"]), "public": "PublicIpAddress" in instance},
        "user data": b64decode(ec2.describe_instance_attribute(**attribute)["UserData"]["Value"]).decode(),
        "volumes": [(volume["Size"], volume["Encrypted"], volume["VolumeType"]) for volume in volumes],
        "private": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        "encryption": s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
        "bucket policy": yaml.safe_load(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
        "key": re.sub(
            r"[A-Za-z0-9_-]", "x", secretsmanager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
        ),
        "secret": (secret["Name"], secret["Tags"]),
        "policy": iam.get_policy_version(**version)["PolicyVersion"]["Document"],
        "files": {
            name: (folder / name).read_text().strip()
            for name in ("config.yml", "uqle.env", "config-parameters.json")
        },
    }
    return yaml.safe_load(normal(yaml.safe_dump(found)))
