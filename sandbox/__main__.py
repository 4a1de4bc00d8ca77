"""`python -m sandbox COMMAND...` runs a command in the emulated AWS, or a shell if none is given."""

import os
import subprocess
import sys
from pathlib import Path

from sandbox.environment import emulated_aws

BANNER = """\
This shell uses an emulated AWS. Nothing here reaches a real account, costs money or boots.
Everything in it, including the home folder, is deleted when you exit. Type `exit` to leave."""

MARK = "[sandbox] "
PROMPTS = {
    ".bashrc": f'PS1="{MARK}$PS1"\n',
    ".zshrc": f'PROMPT="{MARK}$PROMPT"\n',
    ".shrc": f'PS1="{MARK}$ "\n',
    ".config/fish/config.fish": f"""\
functions --copy fish_prompt sandbox_prompt
function fish_prompt
    echo -n '{MARK}'
    sandbox_prompt
end
""",
}


def main(command: list[str]) -> int:
    """Run a command in the emulated AWS.

    Args:
        command: the program and its arguments; if empty, the user's shell, with a banner.

    Returns:
        The command's exit status; 128 plus the signal's number if a signal ended it, as in a shell.

    """
    shell = os.environ.get("SHELL", "/bin/sh")
    with emulated_aws():
        if not command:
            print(BANNER, file=sys.stderr, flush=True)
            mark_prompt(Path(os.environ["HOME"]))
        try:
            status = subprocess.run(command or [shell]).returncode
        except OSError as error:
            print(f"{(command or [shell])[0]}: {error.strerror}", file=sys.stderr)
            return 127
        except KeyboardInterrupt:  # Ctrl-C also stopped the command
            return 130
    return status if status >= 0 else 128 - status


def mark_prompt(home: Path) -> None:
    """Write settings to a new home folder that start the prompts of bash, zsh, fish and sh with [sandbox]."""
    for name, text in PROMPTS.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.environ["ENV"] = str(home / ".shrc")  # sh reads this file
    os.environ["PS1"] = f"{MARK}$ "
    for name in "ZDOTDIR", "XDG_CONFIG_HOME":  # else the shells read the user's own files
        os.environ.pop(name, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
