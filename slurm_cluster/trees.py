"""Read values from parsed YAML or JSON. A value that is missing or of another type is returned as empty."""

from typing import Any


def find_value(tree: object, *path: str | int) -> Any:
    """Return the value at a path of a parsed YAML or JSON file, or None if there is none.

    Args:
        tree: mappings and lists.
        path: keys of mappings and indexes of lists, from the root on.
    """
    try:
        for step in path:
            tree = tree[step] if isinstance(tree, (dict, list)) else None  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return None
    return tree


def list_mappings(tree: object, *path: str | int) -> list[dict[str, Any]]:
    """Return the mappings in the list at a path; empty if there is no list."""
    values = find_value(tree, *path)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
