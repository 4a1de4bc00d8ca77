"""Evaluate IAM policies, and simulate them as IAM does; moto cannot."""

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


def is_allowed(documents: Iterable[Mapping[str, Any]], action: str, resource: str, context: Context) -> bool:
    """Return whether the policies together allow an action.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

    Args:
        documents: the policies.
        action: its name, such as `s3:GetObject`.
        resource: its ARN; `*` if the action has none.
        context: the condition keys and their values.

    """
    statements = [statement for document in documents for statement in as_list(document["Statement"])]
    effects = {
        statement["Effect"] for statement in statements if is_applicable(statement, action, resource, context)
    }
    return "Allow" in effects and "Deny" not in effects


def is_applicable(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    """Return whether a statement applies to an action on a resource."""
    conditions = statement.get("Condition", {})
    excluded = as_list(statement.get("NotResource", []))
    return (
        any(is_match(pattern.lower(), action.lower()) for pattern in as_list(statement["Action"]))
        and any(is_arn_match(pattern, resource) for pattern in as_list(statement.get("Resource", "*")))
        and not any(is_arn_match(pattern, resource) for pattern in excluded)
        and all(is_condition_met(operator, keys, context) for operator, keys in conditions.items())
    )


def is_condition_met(operator: str, keys: Mapping[str, Any], context: Context) -> bool:
    """Return whether a condition is met. A missing key meets only an operator with IfExists.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html

    Raises:
        KeyError: the operator is not supported here.

    """
    is_equal = {"StringEquals": str.__eq__, "StringLike": is_match, "ArnLike": is_arn_match}[
        operator.removesuffix("IfExists")
    ]
    return all(
        any(is_equal(value, context[key]) for value in as_list(values))
        if key in context
        else operator.endswith("IfExists")
        for key, values in keys.items()
    )


def is_match(pattern: str, value: str) -> bool:
    """Return whether a value matches a pattern of IAM, with * and ?."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def is_arn_match(pattern: str, arn: str) -> bool:
    """Return whether each of an ARN's six parts matches that of a pattern. `*` alone matches every ARN.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    return pattern == "*" or (len(patterns) == len(parts) and all(map(is_match, patterns, parts)))


def as_list(one_or_more: Any) -> list[Any]:
    """Return the value as a list: IAM also accepts a single value instead of a list."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def load_policies(iam: IAMBackend, arn: str) -> list[dict[str, Any]]:
    """Return the policies of a user or role.

    Raises:
        NoSuchEntity: there is no such user or role.

    """
    principal = next(
        (found for found in [*iam.users.values(), *iam.roles.values()] if found.arn == arn), None
    )
    if principal is None:
        raise NoSuchEntity(f"Entity {arn} does not exist.")
    documents = [
        *(
            version.document
            for policy in principal.managed_policies.values()
            for version in policy.versions
            if version.is_default
        ),
        *principal.policies.values(),
    ]
    return [
        json.loads(unquote(document)) if isinstance(document, str) else document for document in documents
    ]


def simulate_principal_policy(self: Any) -> ActionResult:
    """Report for each action whether the policies of a user or role allow it.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    documents = load_policies(self.backend, self._get_param("PolicySourceArn"))
    entries = self._get_param("ContextEntries") or []
    context = {entry["ContextKeyName"]: entry["ContextKeyValues"][0] for entry in entries}
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": "allowed" if is_allowed(documents, action, resource, context) else "implicitDeny",
        }
        for action in self._get_param("ActionNames")
        for resource in self._get_param("ResourceArns") or ["*"]
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


IamResponse.simulate_principal_policy = simulate_principal_policy
