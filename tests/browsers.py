"""Open a page in the Chromium of the system; the fixture `browser` of the report's tests starts it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def reading(
    browser: Browser, path: Path, width: int = 1280, scheme: str = "light", **context: object
) -> Iterator[Page]:
    """Open a page and wait for its charts; at the end, check that it logged nothing and loaded nothing."""
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **context
    ) as around:
        page = around.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn=all]")
        yield page
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
        assert said == []
        assert asked == [path.as_uri()]
