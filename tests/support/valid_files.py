"""Valid contents of the files in a cluster's folder."""

from pathlib import Path
from typing import Any

import yaml

from slurm_cluster.config import template
from tests.support import ROOT

GOOD_PARAMETERS = {
    "AWS_REGION": "eu-west-2",
    "SSH_KEY_PAIR": "pcluster-ubuntu",
    "PRIVATE_SUBNET": "subnet-0123456789abcdef0",
    "PUBLIC_SUBNET": "subnet-0fedcba9876543210",
    "CUSTOM_BOOT_ACTION_START": "s3://bucket/one/start.sh",
    "CUSTOM_BOOT_ACTION_CONFIGURED": "https://example.org/configured.sh?a=1&b=2",
    "SLURM_JWT_KEY": (
        "arn:aws:secretsmanager:eu-west-2:123456789012:secret:one-eu-west-2-slurm-jwt-key-AbCdEf"
    ),
    "SLURM_JWT_POLICY": "arn:aws:iam::123456789012:policy/parallelcluster/one-eu-west-2-read-slurm-jwt-key",
    "BOOTSTRAP_BUCKET": "bucket",
    "CLUSTER_NAME": "one",
    "SSH_FROM": "203.0.113.7/32",
}
GOOD_TEMP_CONFIG = """\
Region: eu-west-2
HeadNode:
  Networking: {SubnetId: subnet-0123456789abcdef0}
  Ssh: {KeyName: k}
Scheduling:
  SlurmQueues:
    - {Name: queue1, Networking: {SubnetIds: [subnet-0fedcba9876543210]}}
"""


def render_configuration(**changed: str) -> Any:
    """Render config.yml from the good parameters, with some of them changed. Return it parsed."""
    parameters = GOOD_PARAMETERS | changed
    return yaml.safe_load(
        template.render_template(ROOT / "config.template.yml", parameters, Path("config-parameters.json"))
    )
