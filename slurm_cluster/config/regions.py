"""The region that everything happens in."""

import os
import re
from pathlib import Path

import boto3
from botocore.exceptions import ProfileNotFound

from slurm_cluster import files
from slurm_cluster.config import parameters, temp_config
from slurm_cluster.errors import ClusterError


def resolve_region(parameter_file: Path, temp_config_file: Path) -> str:
    """Give the region: of config-parameters.json, else temp-config.yml, else the environment, else the AWS profile.

    Args:
        parameter_file: config-parameters.json, which need not be there.
        temp_config_file: temp-config.yml, which need not be there.

    Raises:
        ClusterError: the two files contradict each other, none of them names a region, or what is named is not one.

    """
    filled = (
        parameters.filter_filled(parameters.read_parameters(parameter_file)).get("AWS_REGION")
        if files.exists(parameter_file)
        else None
    )
    configured = (
        temp_config.read_temp_config(temp_config_file).region if files.exists(temp_config_file) else None
    )
    if filled and configured and filled != configured:
        raise ClusterError(
            f"AWS_REGION is {parameters.sanitize(str(filled))} in {parameter_file} and Region is {configured} in "
            f"{temp_config_file}: correct the one that is wrong, or move it away."
        )
    region = filled or configured or os.environ.get("AWS_REGION") or get_profile_region()
    if not region:
        raise ClusterError(
            "No AWS region is set: run `aws configure`, or set AWS_REGION, as in AWS_REGION=eu-west-2."
        )
    if not (isinstance(region, str) and re.fullmatch(parameters.REGION, region, re.ASCII)):
        raise ClusterError(
            f"The region is {parameters.shorten(region)}, which is not the name of one, as eu-west-2 is."
        )
    return region


def get_profile_region() -> str | None:
    """Give the region of AWS_DEFAULT_REGION or the profile."""
    try:
        return boto3.Session().region_name
    except ProfileNotFound as error:
        raise ClusterError(
            f"{error}: correct AWS_PROFILE, or add the profile with `aws configure`."
        ) from error
