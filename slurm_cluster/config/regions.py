"""The AWS region."""

import os
import re
from pathlib import Path

import boto3
from botocore.exceptions import ProfileNotFound

from slurm_cluster import files
from slurm_cluster.config import parameters, temp_config
from slurm_cluster.errors import ClusterError


def resolve_region(parameter_file: Path, temp_config_file: Path) -> str:
    """Return the region in config-parameters.json, else temp-config.yml, else the environment or AWS profile.

    Args:
        parameter_file: config-parameters.json, which may be missing.
        temp_config_file: temp-config.yml, which may be missing.

    Raises:
        ClusterError: the files have different regions, no region is set, its name is invalid, or it
            is in China.
    """
    filled = configured = None
    if files.exists(parameter_file):
        filled = parameters.filter_filled(parameters.read_parameters(parameter_file)).get("AWS_REGION")
    if files.exists(temp_config_file):
        configured = temp_config.read_temp_config(temp_config_file).region
    if filled and configured and filled != configured:
        raise ClusterError(
            f"AWS_REGION is {parameters.sanitize(str(filled))} in {parameter_file}, "
            f"and Region is {configured} in {temp_config_file}. Correct one, or move that file away."
        )
    region = filled or configured or os.environ.get("AWS_REGION") or get_profile_region()
    if not region:
        raise ClusterError("No AWS region is set. Run `aws configure`, or set AWS_REGION to one.")
    if not (isinstance(region, str) and re.fullmatch(parameters.REGION, region, re.ASCII)):
        raise ClusterError(
            f"The region is {parameters.shorten(region)}, and must be a name such as eu-west-2."
        )
    if region.startswith("cn-"):  # its partition has other service names, and none of this was tried there
        raise ClusterError(f"The region is {region}. Regions in China are not supported: choose another one.")
    return region


def get_profile_region() -> str | None:
    """Return the region in AWS_DEFAULT_REGION or in the AWS profile."""
    try:
        return boto3.Session().region_name
    except ProfileNotFound as error:
        raise ClusterError(
            f"{error}. Correct AWS_PROFILE, or add the profile with `aws configure`."
        ) from error
