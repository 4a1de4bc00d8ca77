"""IAM policies as IAM reads them, and the simulation of what they allow, which moto lacks."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from moto.core.responses import ActionResult
from moto.iam.exceptions import NoSuchEntity
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse

Context = Mapping[str, str]


def allows(documents: Iterable[Mapping[str, Any]], action: str, resource: str, context: Context) -> bool:
    """Say whether policies together allow an action.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

    Args:
        documents: the policies.
        action: as `s3:GetObject`.
        resource: its ARN; `*` where the action has none.
        context: the keys of conditions, and their values.

    """
    statements = [each for document in documents for each in listed(document["Statement"])]
    effects = {each["Effect"] for each in statements if applies(each, action, resource, context)}
    return "Allow" in effects and "Deny" not in effects


def applies(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    """Say whether a statement is about an action on a resource."""
    return (
        any(matches(pattern.lower(), action.lower()) for pattern in listed(statement["Action"]))
        and any(matches(pattern, resource) for pattern in listed(statement["Resource"]))
        and all(holds(operator, keys, context) for operator, keys in statement.get("Condition", {}).items())
    )


def holds(operator: str, keys: Mapping[str, Any], context: Context) -> bool:
    """Say whether a condition holds; one about a key that the request does not have does not.

    Raises:
        KeyError: the operator is not one of those that are read here.

    """
    same = {"StringEquals": str.__eq__, "StringLike": matches, "ArnLike": matches}[operator]
    return all(
        key in context and any(same(value, context[key]) for value in listed(values))
        for key, values in keys.items()
    )


def matches(pattern: str, value: str) -> bool:
    """Say whether a pattern of IAM, with * and ?, is that of a value."""
    return (
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value, re.DOTALL)
        is not None
    )


def listed(one_or_more: Any) -> list[Any]:
    """Give a list, where IAM takes one thing without a list too."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def policies_of(iam: IAMBackend, arn: str) -> list[dict[str, Any]]:
    """Give the policies of a user or role.

    Raises:
        NoSuchEntity: there is no such user or role.

    """
    owner = next((each for each in [*iam.users.values(), *iam.roles.values()] if each.arn == arn), None)
    if owner is None:
        raise NoSuchEntity(f"Entity {arn} does not exist.")
    versions = [
        version
        for policy in owner.managed_policies.values()
        for version in policy.versions
        if version.is_default
    ]
    documents = [*(version.document for version in versions), *owner.policies.values()]
    return [
        json.loads(unquote(document)) if isinstance(document, str) else document for document in documents
    ]


def simulate_principal_policy(self: Any) -> ActionResult:
    """Say of each action whether the policies of a user or role allow it.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    documents = policies_of(self.backend, self._get_param("PolicySourceArn"))
    context = {
        each["ContextKeyName"]: each["ContextKeyValues"][0]
        for each in self._get_param("ContextEntries") or []
    }
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": "allowed" if allows(documents, action, resource, context) else "implicitDeny",
        }
        for action in self._get_param("ActionNames")
        for resource in self._get_param("ResourceArns") or ["*"]
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


IamResponse.simulate_principal_policy = simulate_principal_policy
