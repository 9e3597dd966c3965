"""Sphinx extension: everything on a page that needs the book's public address, from one setting.

The address is ``repository: url:`` in ``_config.yml``. With an address, every page gets links to
the repository and its issues, and every chapter a button that opens it in hosted Jupyter. Without
one there is no such button, rather than one that leads nowhere.
"""

from sphinx.application import Sphinx
from sphinx.config import Config

__all__ = ["setup", "turn_on"]

_HOSTS = {
    "notebook_interface": "jupyterlab",
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
}


def turn_on(app: Sphinx, config: Config) -> None:
    """Add the buttons where the address is set."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options |= {"use_repository_button": True, "use_issues_button": True}
        options["launch_buttons"] = _HOSTS
    else:
        options.pop("launch_buttons", None)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", turn_on, priority=100)  # before the theme reads its options
    return {"parallel_read_safe": True, "parallel_write_safe": True}
