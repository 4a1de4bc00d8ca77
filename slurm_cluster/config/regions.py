"""Find the AWS region in the files, the environment and the AWS profile."""

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from slurm_cluster import files
from slurm_cluster.config import parameters, temp_config
from slurm_cluster.errors import ClusterError

# The files in which boto3 looks for profiles, by the environment variable that overrides each.
PROFILE_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")


class FileRegion(NamedTuple):
    """The region that the files in the current folder name.

    Args:
        name: the region; empty if no file names one.
        file: the file that names it.
    """

    name: str = ""
    file: Path = Path()


def read_file_region(parameter_file: Path, temp_config_file: Path) -> FileRegion:
    """Return the region in config-parameters.json, else in temp-config.yml.

    Args:
        parameter_file: config-parameters.json, which may be missing.
        temp_config_file: temp-config.yml, which may be missing.

    Raises:
        ClusterError: the files have different regions, or a name is invalid.
    """
    filled = configured = None
    if files.exists(parameter_file):
        filled = parameters.filter_filled(parameters.read_parameters(parameter_file)).get("AWS_REGION")
    if files.exists(temp_config_file):
        configured = temp_config.read_temp_config(temp_config_file).region
    if filled and configured and filled != configured:
        raise ClusterError(
            f"AWS_REGION is {parameters.sanitize(str(filled))} in {parameter_file}, "
            f"and Region is {configured} in {temp_config_file}. Correct one of them, or move one file away."
        )
    if not (filled or configured):
        return FileRegion()
    file = parameter_file if filled else temp_config_file
    return FileRegion(validate_region(filled or configured, f"The region in {file}"), file)


def resolve_region(
    in_files: FileRegion, environment: Mapping[str, str], in_profile: str | None, known: Collection[str]
) -> str:
    """Return the region in the files, else in the environment, else in the AWS profile.

    Args:
        in_files: the region in the files.
        environment: the variables of the process. AWS_REGION comes before AWS_DEFAULT_REGION.
        in_profile: the region in the AWS profile, if it has one.
        known: the names of all regions that AWS has.

    Raises:
        ClusterError: no region is set, or AWS does not have it.
    """
    variable = next((name for name in VARIABLES if environment.get(name)), "")
    regions: dict[str, str | None] = {}  # by the place where it is set
    if in_files.name:
        regions[f"The region in {in_files.file}"] = in_files.name
    if variable:
        regions[variable] = environment[variable]
    if not regions:
        regions["The region of the AWS profile"] = in_profile
    for source, region in regions.items():
        if region and validate_region(region, source) not in known:
            similar = difflib.get_close_matches(region, known, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            raise ClusterError(f"{source} is {region}. boto3 knows no such region.{hint}")
    region = next(iter(regions.values()))
    if not region:
        raise ClusterError("No AWS region is set. Run `aws configure`, or set AWS_REGION to one.")
    return region


def validate_region(region: object, subject: str) -> str:
    """Return the name of a region.

    Raises:
        ClusterError: it is not of the form of a region's name.
    """
    if not (isinstance(region, str) and re.fullmatch(parameters.REGION, region, re.ASCII)):
        raise ClusterError(
            f"{subject} is {parameters.shorten(region)}, and must be a name such as eu-west-2."
        )
    if region.startswith("cn-"):  # the China partition has other service names, and is untested
        raise ClusterError(f"The region is {region}. Regions in China are not supported: choose another one.")
    return region


def describe_conflict(in_files: FileRegion, environment: Mapping[str, str], task: str) -> str:
    """Return a message if the environment and the files have different regions; else empty.

    Args:
        in_files: the region in the files.
        environment: the variables of the process.
        task: the name of the task.
    """
    others = {name: environment[name] for name in VARIABLES if environment.get(name)}
    others = {name: value for name, value in others.items() if in_files.name and value != in_files.name}
    if not others:
        return ""
    named = " and ".join(f"{name} is {value}" for name, value in others.items())
    prefix = " ".join(f"{name}={in_files.name}" for name in others)
    return (
        f"{in_files.file} is for {in_files.name}, but {named}.\n"
        f"For the cluster in {in_files.name}, run:\n"
        f"  {prefix} invoke {task}\n"
        f"For another region, work in another folder."
    )


def refuse_unreadable_profile(environment: Mapping[str, str]) -> None:
    """Check that ~/.aws/config and ~/.aws/credentials are readable, because boto3 ignores unreadable ones.

    https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html

    Raises:
        ClusterError: it names the file.
    """
    for variable, default in PROFILE_FILES.items():
        path = Path(environment.get(variable) or default).expanduser()
        try:
            os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK)).close()  # a FIFO would block
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ClusterError(f"Cannot read {path}: {error.strerror}.") from error
