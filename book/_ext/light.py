"""Sphinx extension: send readers what a page uses, and nothing else.

The last step of a build goes over the finished pages, which have the parts of the theme and of
extensions in them, and over the files beside them:

- Font Awesome's script, 1.5 MB for a dozen icons, is replaced by these icons, drawn into the page
  as the script would draw them. Its fonts keep the characters that style sheets ask for.
- Scripts wait until the page is there, and those of extensions are loaded where they have work.
- The page knows light from dark before it is drawn.
- Pictures are stored again, without loss, in fewer bytes. They say their size before they come, so
  that nothing jumps, and those further down wait until a reader gets there.
- Each page has a description for search engines, made of its own sentences.

A build that writes only some pages anew goes over all of them, so each change may meet its result.
"""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from html import escape, unescape
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from fontTools import subset
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

__all__ = ["describe", "lighten", "setup"]

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
STYLE, FONTS = "styles/pydata-sphinx-theme.css", "vendor/fontawesome/webfonts"
ICONS = "scripts/fontawesome.js"
# What no page asks for: maps for debuggers, translations that the build has read, templates.
UNUSED = (
    "**/*.map",
    "locales",
    "*webpack-macros.html",
    f"{FONTS}/*.ttf",
    f"{FONTS}/*.woff2",
    ICONS,
)
# Files that have work only where the article has this in it.
WORK = {
    r"/maths\.js": r'class="math\b',
    r"clipboard\.min\.js|copybutton\.(js|css)": r'class="highlight\b',
    r"design-tabs\.js": r'class="sd-tab-',
    r"sphinx-design\.min\.css": r'class="[^"]*\bsd-',
    r"exercise\.css": r'class="[^"]*\b(exercise|solution)\b',
    r"mystnb\.\w+\.css": r'class="[^"]*\b(cell|output)\b',
    r"fontawesome\.js": r"(?!)",  # nowhere
}
DENSITY = 100  # CSS pixels an inch: a figure's letters are as large as those of the text around it
LONGEST = 200  # characters of a description; search engines show no more
# Pages that have their title from the theme.
NAMES = {
    "search": "Search the book",
}

_ARTICLE = re.compile(r'<article class="bd-article".*?</article>', re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
# Scripts that wait come in the right order, but their preloads would come before the styles.
_PRELOAD = re.compile(r'<link rel="preload" as="script"[^>]*>\s*')
_IMPATIENT = re.compile(r"<script(?=[^>]*\ssrc=)(?![^>]*\s(?:defer|async)\b)")
_OPTIONS = re.compile(r'<script src="[^"]*documentation_options\.js[^"]*"></script>')
# The theme knows the colours once its script runs: until then there are none, and then all moves.
_THEME = re.compile(r"document\.documentElement\.dataset\.theme = localStorage[^;]*;")
_CHOICE = """const mode = document.documentElement.dataset.mode;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = mode !== "auto" ? mode : dark ? "dark" : "light";"""
_STYLES = {"fa-solid": "fas", "fas": "fas", "fa-regular": "far", "far": "far"}
_STYLES |= {"fa-brands": "fab", "fab": "fab"}
_SIZES = {"fa-xs", "fa-sm", "fa-lg", "fa-xl", "fa-fw"}


def lighten(site: Path) -> None:
    """Make the pages under ``site`` light, and delete files that none of them needs."""
    static = site / "_static"
    drawn = list((site / "_images").glob("*.png"))
    with ThreadPoolExecutor() as pool:
        list(pool.map(_pack, drawn))
    options = (static / "documentation_options.js").read_text(encoding="utf-8")
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        if STYLE in page and static not in path.parents:
            path.write_text(_light(page, path.parent, options), encoding="utf-8")
    _thin(static)
    for path in [*drawn, *(path for pattern in UNUSED for path in static.glob(pattern))]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _light(page: str, folder: Path, options: str) -> str:
    """The text of one page."""
    article = found[0] if (found := _ARTICLE.search(page)) else ""
    for files, work in WORK.items():
        if not re.search(work, article):
            address = rf'(src|href)="[^"]*({files})(\?[^"]*)?"'
            page = re.sub(rf"<(script|link)\b[^>]*{address}[^>]*>(</script>)?\s*", "", page)
    # A second build would add a version to these two, which a first one has not seen yet.
    page = re.sub(r"((?:mystnb\.\w+|exercise)\.css)\?v=\w+", r"\1", page)
    page = _PRELOAD.sub("", page)
    page = _THEME.sub(_CHOICE, page)
    # A line of settings that scripts in the page change at once: no request, no waiting.
    page = _OPTIONS.sub(lambda _: f"<script>{options.strip()}</script>", page)
    page = _IMPATIENT.sub("<script defer", page)
    page = re.sub(r"<(i|span)\s[^<>]*></\1>", _drawn, page)
    head, start, rest = page.partition('<article class="bd-article"')
    head = re.sub(r"<img\b[^>]*>", partial(_picture, folder=folder, more=""), head)
    first, lazy = 'fetchpriority="high"', 'loading="lazy" decoding="async"'
    rest = re.sub(r"<img\b[^>]*>", partial(_picture, folder=folder, more=first), rest, count=1)
    rest = re.sub(r"<img\b[^>]*>", partial(_picture, folder=folder, more=lazy), rest)
    return head + start + rest


# ---- Icons ----


def _drawn(element: re.Match[str]) -> str:
    """An icon as the picture that Font Awesome's script would put in its place."""
    attributes = dict(_ATTRIBUTE.findall(element[0]))
    classes = attributes.pop("class", "").split()
    styles = [_STYLES[name] for name in classes if name in _STYLES]
    if not styles:
        return element[0]
    names = [n for n in classes if n.startswith("fa-") and n not in _STYLES and n not in _SIZES]
    found = _icons(styles[0]).get(names[0].removeprefix("fa-")) if len(names) == 1 else None
    if found is None:
        raise ExtensionError(f"{element[0]} is no icon of the theme's {ICONS}.")
    width, height, outline = found
    kept = " ".join(["svg-inline--fa", *(name for name in classes if name not in _STYLES)])
    title = f"<title>{attributes.pop('title')}</title>" if "title" in attributes else ""
    other = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return (
        f'<svg class="{kept}"{other} aria-hidden="true" viewBox="0 0 {width} {height}">'
        f'{title}<path fill="currentColor" d="{outline}"/></svg>'
    )


@cache
def _icons(style: str) -> dict[str, tuple[str, str, str]]:
    """``{name: (width, height, outline)}`` of one of the styles in the theme's script."""
    script = (THEME / ICONS).read_text(encoding="utf-8")
    # Each style is one object, followed by its registration under the style's short name.
    end = script.index(f'("{style}",p)')
    pack = script[script.rindex("var p={", 0, end) : end]
    icon = r'"?([\w-]+)"?:\[(\d+),(\d+),\[([^\]]*)\],"\w+","([^"]+)"\]'
    return {
        called: (width, height, outline)
        for name, width, height, others, outline in re.findall(icon, pack)
        for called in (name, *re.findall(r'"([\w-]+)"', others))
    }


def _thin(static: Path) -> None:
    """Take the icons that pages do not draw with letters out of the theme's style and fonts."""
    style = (THEME / STYLE).read_text(encoding="utf-8")
    style = re.sub(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}', "", style)
    style = re.sub(r',url\([^)]*\.ttf\) format\("truetype"\)', "", style)
    style = style.replace('.woff2) format("woff2")', '.woff) format("woff")')
    (static / STYLE).write_text(style, encoding="utf-8")
    asked = set()
    for path in static.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        asked |= {int(code, 16) for code in re.findall(r'"\\(f[0-9a-f]{3})"', text)}
        asked |= set(map(ord, re.findall("[\ue000-\uf8ff]", text)))
    (static / FONTS).mkdir(parents=True, exist_ok=True)
    for path in (THEME / FONTS).glob("*.ttf"):
        settings = subset.Options(flavor="woff", layout_features=[], notdef_outline=True)
        with subset.load_font(path, settings) as font:
            subsetter = subset.Subsetter(settings)
            subsetter.populate(unicodes=asked)
            subsetter.subset(font)
            subset.save_font(font, static / FONTS / f"{path.stem}.woff", settings)


# ---- Pictures ----


def _pack(picture: Path) -> None:
    """Store a picture again, pixel by pixel the same, in about 60 % of the bytes."""
    with Image.open(picture) as image:
        image.save(picture.with_suffix(".webp"), lossless=True, quality=75, method=4)


def _picture(tag: re.Match[str], folder: Path, more: str) -> str:
    """Say how large a picture is shown, and when it may come."""
    attributes = dict(_ATTRIBUTE.findall(tag[0]))
    if "width" in attributes:
        return tag[0]
    file = folder / unescape(attributes["src"]).partition("?")[0]
    width, height = _size(file)
    if file.parent.name == "_images" and file.suffix == ".png":
        attributes["src"] = attributes["src"].replace(".png", ".webp")
    attributes |= {"width": str(width), "height": str(height)}
    said = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<img {said} {more}".rstrip() + "/>"


@cache
def _size(file: Path) -> tuple[int, int]:
    """Width and height in CSS pixels."""
    if file.suffix == ".svg":
        box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', file.read_text("utf-8"))
        if box is None:
            raise ExtensionError(f"{file.name} has no viewBox that says its size.")
        return round(float(box[1])), round(float(box[2]))
    with Image.open(file) as image:
        dots = image.info.get("dpi", (DENSITY,))[0]
        return round(image.width * DENSITY / dots), round(image.height * DENSITY / dots)


# ---- Descriptions ----


def describe(
    _app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Say in a sentence or two what the page is about, where it does not say so itself.

    A chapter's first paragraph ends with its question: the question and what stands before it.
    Elsewhere, the title and what comes first.
    """
    if 'name="description"' in context.get("metatags", ""):
        return
    title = NAMES.get(page) or unescape(re.sub(r"<[^>]+>", "", context.get("title", "")))
    if page.startswith("_modules/mtl_lib"):
        title = f"Source code of {title}"
    first = next(iter(doctree.findall(_is_text)), None) if doctree else None
    sentences = _sentences(first) if first else []
    if sentences and sentences[-1].endswith("?"):
        said = _fitting(sentences[::-1])[::-1]
    else:
        stop = "" if title.endswith(("?", "!", ".")) else "."
        said = _fitting([f"{title}{stop}", *sentences])
    text = escape(" ".join(said))
    context["metatags"] = (
        f'{context.get("metatags", "")}<meta name="description" content="{text}" />'
    )


def _is_text(node: nodes.Node) -> bool:
    return isinstance(node, nodes.paragraph) and isinstance(node.parent, nodes.section)


def _sentences(paragraph: nodes.Element) -> list[str]:
    """Sentences, one a line in the source; formulas are kept as the letters they are written in."""
    text = re.sub(r"\s+", " ", paragraph.astext()).strip()
    return re.split(r"(?<=[.?!:]) (?=[A-Z])", text)


def _fitting(sentences: list[str]) -> list[str]:
    """The first, and as many more as fit and have no formula."""
    kept = sentences[:1]
    for sentence in sentences[1:]:
        if "\\" in sentence or sum(map(len, [*kept, sentence])) + len(kept) > LONGEST:
            break
        kept.append(sentence)
    return kept


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Sphinx calls this in the end."""
    if exception is None and app.builder.name == "html":
        lighten(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", describe)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
