"""Write docs/images/report.png: the top of a study's report, in headless Chromium.

    python -m benchmarks.screenshot results/all [--output FILE] [--width N] [--height N] [--dark]

Needs the extra `dev` (Playwright) and a Chromium of the system (apt-get install chromium).
"""

import argparse
import shutil
import sys
from pathlib import Path

PICTURE = Path("docs/images/report.png")
NAMES = ("chromium", "chromium-browser", "google-chrome")  # of the program


def write_screenshot(report: Path, picture: Path, *, width: int, height: int, dark: bool) -> None:
    """Write a picture of the top of a report, with all its charts drawn.

    Args:
        report: the HTML file.
        picture: the PNG file to write.
        width, height: of the picture, in pixels.
        dark: whether the system has a dark color scheme.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        sys.exit("benchmarks.screenshot: no Chromium found; apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )  # fmt: skip
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-drawn=all]")
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Read the options and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a study with report.html, for example results/all")
    parser.add_argument("--output", type=Path, default=PICTURE, help=f"PNG file (default: {PICTURE})")
    parser.add_argument("--width", type=int, default=1080, help="pixels (default: 1080)")
    parser.add_argument("--height", type=int, default=1100, help="pixels (default: 1100)")
    parser.add_argument("--dark", action="store_true", help="with a dark color scheme")
    options = parser.parse_args()
    report = options.study / "report.html"
    if not report.is_file():
        sys.exit(f"{report}: no such file; write it with python -m search.report {options.study}")
    write_screenshot(report, options.output, width=options.width, height=options.height, dark=options.dark)
    print(options.output)


if __name__ == "__main__":
    main()
