"""`freehold version`."""

import platform
from importlib import metadata

from freehold import __version__
from freehold.cli.lazy import command_group
from freehold.cli.options import JsonOption
from freehold.cli.output import print_json

app = command_group()


@app.command(epilog="Example: freehold version --json")
def version(as_json: JsonOption = False) -> None:
    """Print the version; with --json, those of Python and of the engine library too."""
    if as_json:
        print_json(
            {
                "version": __version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "xllamacpp": metadata.version("xllamacpp"),
            }
        )
    else:
        print(f"freehold {__version__}")
