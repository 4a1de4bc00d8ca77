"""Map CloudFormation statuses to phases and messages, and find the command for the next step."""

from collections.abc import Mapping

# The phase and the meaning of each status.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
STATUSES = {
    "CREATE_IN_PROGRESS": ("creating", "it is being created"),
    "CREATE_FAILED": ("failed", "its creation failed"),
    "CREATE_COMPLETE": ("complete", "it is complete"),
    "ROLLBACK_IN_PROGRESS": ("creating", "its creation failed, and AWS is deleting its resources"),
    "ROLLBACK_FAILED": ("failed", "its creation failed, and AWS could not delete all of its resources"),
    "ROLLBACK_COMPLETE": ("failed", "its creation failed, and AWS deleted its resources"),
    "UPDATE_IN_PROGRESS": ("updating", "it is being updated"),
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": ("updating", "it is updated, and AWS is deleting old resources"),
    "UPDATE_COMPLETE": ("complete", "it is updated"),
    "UPDATE_FAILED": ("half-updated", "its last update failed half-way and was not undone"),
    "UPDATE_ROLLBACK_IN_PROGRESS": ("updating", "its last update failed, and AWS is undoing it"),
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": (
        "updating",
        "its last update was undone, and AWS is deleting what that created",
    ),
    "UPDATE_ROLLBACK_COMPLETE": ("complete", "its last update failed and was undone"),
    "UPDATE_ROLLBACK_FAILED": ("half-updated", "its last update failed, and AWS could not undo it"),
    "DELETE_IN_PROGRESS": ("deleting", "it is being deleted"),
    "DELETE_FAILED": ("failed", "its deletion failed, and some of its resources are left"),
    "REVIEW_IN_PROGRESS": ("planned", "a change set that would create it was never executed"),
    "IMPORT_IN_PROGRESS": ("importing", "resources are being imported into it"),
    "IMPORT_COMPLETE": ("complete", "resources were imported into it"),
    "IMPORT_ROLLBACK_IN_PROGRESS": ("importing", "an import into it failed, and AWS is undoing it"),
    "IMPORT_ROLLBACK_COMPLETE": ("complete", "an import into it failed and was undone"),
    "IMPORT_ROLLBACK_FAILED": ("failed", "an import into it failed, and AWS could not undo it"),
}
UNKNOWN = "unknown", "a status that these tasks do not know, so they change nothing"
# The task to run in each phase. It must accept that phase.
CLUSTER_TASKS = {
    "creating": "invoke create-cluster",
    "updating": "invoke update-cluster",
    "deleting": "invoke delete-cluster",
    "failed": "invoke delete-cluster",
}
NETWORK_TASKS = dict.fromkeys(["creating", "deleting", "failed", "planned"], "invoke delete-network")
REPAIRS = {  # subcommands of `aws cloudformation`
    "UPDATE_FAILED": "rollback-stack",
    "UPDATE_ROLLBACK_FAILED": "continue-update-rollback",
    "REVIEW_IN_PROGRESS": "delete-stack",
}


def get_phase(status: str) -> str:
    """Return the phase of a stack with a status; empty if there is no stack."""
    return STATUSES.get(status, UNKNOWN)[0] if status else ""


def get_repair_command(name: str, status: str, region: str) -> str:
    """Return the AWS CLI command for a status that no task can resolve; empty for other statuses."""
    action = REPAIRS.get(status, "")
    return f"aws cloudformation {action} --region {region} --stack-name {name}" if action else ""


def find_next_command(tasks: Mapping[str, str], name: str, status: str, region: str) -> str:
    """Return the command that a stack's status calls for; empty if there is nothing to do but wait.

    Args:
        tasks: CLUSTER_TASKS or NETWORK_TASKS.
        name: the stack's name.
        status: its status.
        region: its region.
    """
    return tasks.get(get_phase(status)) or get_repair_command(name, status, region)


def explain_status(kind: str, name: str, status: str, region: str) -> str:
    """Return what a stack's status means, and what to do about it.

    Args:
        kind: `cluster` or `network`.
        name: the stack's name.
        status: its status.
        region: its region.
    """
    phase, meaning = STATUSES.get(status, UNKNOWN)
    task = (CLUSTER_TASKS if kind == "cluster" else NETWORK_TASKS).get(phase, "")
    repair, delete = get_repair_command(name, status, region), f"`invoke delete-{kind}`"
    if phase == "complete":
        advice = ""
    elif phase == "half-updated":
        advice = f"Undo the update with `{repair}`, or delete the {kind} with {delete}."
    elif phase == "unknown":
        advice = (
            f"`aws cloudformation describe-stack-events --region {region} --stack-name {name}` shows more."
        )
    elif not task:
        advice = f"Delete it with `{repair}`." if repair else "Wait until that has ended."
    elif phase == "creating" and kind == "network":
        advice = f"Wait for `invoke configure`. If you stopped it, run {delete}."
    elif phase in ("failed", "planned"):
        advice = f"{delete} deletes what is left of it."
    else:
        advice = f"`{task}` watches it."
    return f"The {kind} {name} is {status}: {meaning}. {advice}".strip()
