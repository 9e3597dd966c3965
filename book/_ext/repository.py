"""Sphinx extension: everything on a page that needs the book's public address, from one setting.

The address is ``repository: url:`` in ``_config.yml``, or the environment variable ``REPOSITORY``,
which goes first. With an address, every page gets links to the repository and its issues, and every
chapter buttons that open it in hosted Jupyter. Without one there is no such button, rather than one
that leads nowhere.

Binder opens the chapter as it is, in the environment of ``.binder``. Colab knows nothing of
environments: its button opens a copy whose first cell installs what the chapter needs, on the
branch that ``book/tools/hosted.py`` writes.
"""

import os
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

__all__ = ["HOSTED_BRANCH", "setup", "turn_on"]

HOSTED_BRANCH = "hosted"
_GITHUB = "https://github.com/"
_BINDER = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
_COLAB = {"colab_url": "https://colab.research.google.com"}


def turn_on(app: Sphinx, config: Config) -> None:
    """Add the buttons where the address is set."""
    options = config.html_theme_options
    address = os.environ.get("REPOSITORY") or options.get("repository_url") or ""
    address = options["repository_url"] = address.rstrip("/").removesuffix(".git")
    options.pop("launch_buttons", None)
    if not address:
        return
    if not re.fullmatch(r"https://[^/\s]+(/[^/\s]+){2,}", address):
        raise ConfigError(f"{address!r} is no address like https://github.com/NAME/REPOSITORY")
    options |= {"use_repository_button": True, "use_issues_button": True}
    # Colab opens files of GitHub only.
    options["launch_buttons"] = _BINDER | (_COLAB if address.startswith(_GITHUB) else {})


def open_the_copy(app: Sphinx, page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    """Lead the button of Colab to the copy that installs what it needs."""
    branch = (
        app.config.html_theme_options.get("repository_branch") or "master"
    )  # as the theme has it
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []) if group["label"] == "launch-buttons" else []:
            if button["url"].startswith(_COLAB["colab_url"]):
                button["url"] = button["url"].replace(
                    f"/blob/{branch}/", f"/blob/{HOSTED_BRANCH}/", 1
                )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", turn_on, priority=100)  # before the theme reads its options
    app.connect("html-page-context", open_the_copy, priority=502)  # the theme adds buttons at 501
    return {"parallel_read_safe": True, "parallel_write_safe": True}
