"""The evaluation of IAM policies, and its simulation, which moto lacks."""

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
    """Return whether policies together allow an action.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

    Args:
        documents: the policies.
        action: as `s3:GetObject`.
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
    return (
        any(is_match(pattern.lower(), action.lower()) for pattern in as_list(statement["Action"]))
        and any(is_match(pattern, resource) for pattern in as_list(statement["Resource"]))
        and all(is_condition_met(operator, keys, context) for operator, keys in conditions.items())
    )


def is_condition_met(operator: str, keys: Mapping[str, Any], context: Context) -> bool:
    """Return whether a condition is met; it is not if the request lacks one of its keys.

    Raises:
        KeyError: the operator is not supported here.

    """
    is_equal = {"StringEquals": str.__eq__, "StringLike": is_match, "ArnLike": is_match}[operator]
    return all(
        key in context and any(is_equal(value, context[key]) for value in as_list(values))
        for key, values in keys.items()
    )


def is_match(pattern: str, value: str) -> bool:
    """Return whether a value matches a pattern of IAM, with * and ?."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def as_list(one_or_more: Any) -> list[Any]:
    """Return a list; IAM also accepts a single value in place of a list."""
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
    """Answer for each action whether the policies of a user or role allow it.

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
