"""The command that takes pictures of the page leaves out no screen and no picture of the docs."""

import re

from local.screenshots import CHOSEN, IMAGES, LOOKS, SHOTS
from local.stack import ROOT

APP = (ROOT / "web" / "app.js").read_text(encoding="utf-8")
DOCS = [ROOT / "README.md", ROOT / "docs" / "page.md"]


def _routes() -> set[str]:
    """Return the addresses that web/app.js knows; `/*` stands for one thing's screen."""
    lists = set(re.findall(r'\["(\w+)", "[\w ]+", \w+\]', APP))
    single = re.findall(r"(\w+): \w+", APP.partition("SINGLE = {")[2].partition("}")[0])
    return lists | {f"{name}/*" for name in single}


def test_every_screen_has_a_picture() -> None:
    """Each route of the page is the address of a picture."""
    taken = {
        re.sub(r"/.*", "/*", shot.address.removeprefix("#/").split("?")[0])
        for shot in SHOTS.values()
    }
    assert len(_routes()) == 9
    assert taken == _routes()


def test_the_pictures_that_the_documentation_shows_are_taken() -> None:
    """Each chosen picture is one that is taken, is in the repository, and is shown."""
    shown = "".join(path.read_text(encoding="utf-8") for path in DOCS)
    names = {f"{name}-{look}" for name in SHOTS for look, _, _ in LOOKS}
    assert set(CHOSEN) <= names
    for picture in CHOSEN.values():
        assert (IMAGES / f"{picture}.png").is_file()
        assert f"images/{picture}.png" in shown


def test_no_picture_is_left_behind() -> None:
    """Each picture in docs/images is one that the command takes."""
    assert {path.stem for path in IMAGES.glob("*.png")} == set(CHOSEN.values())
