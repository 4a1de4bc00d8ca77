"""Tokens for Slurm's REST API."""

import re
import time

import jwt

from slurm_cluster.errors import ClusterError

MIN_KEY_BYTES = 32  # RFC 7518, section 3.2: an HS256 key has at least 256 bits
CREATE_KEY_HINT = "Create one with `invoke create-jwt-key`."


def sign_token(key: str, user: str, seconds: int) -> str:
    """Return a token for Slurm, signed with HS256. See https://slurm.schedmd.com/jwt.html.

    Args:
        key: the JWT key, exactly as in Slurm's key file.
        user: the user that the token is for.
        seconds: the token's lifetime.

    Raises:
        ClusterError: the key or the user name is not valid.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", user):
        raise ClusterError(f"{user!r} is not a valid user name. Use one of the head node, such as slurm.")
    if len(key.encode()) < MIN_KEY_BYTES:
        raise ClusterError(f"The JWT key is shorter than {MIN_KEY_BYTES} bytes. {CREATE_KEY_HINT}")
    now = int(time.time())
    claims = {"iat": now, "exp": now + seconds, "sun": user}
    try:
        return jwt.encode(claims, key.encode(), algorithm="HS256")
    except jwt.InvalidKeyError:
        raise ClusterError(f"The JWT key is an asymmetric key or a certificate. {CREATE_KEY_HINT}") from None
