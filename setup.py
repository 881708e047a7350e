"""Puts `spaces/` into what is built, as `search/spaces/`; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SCHEMA = "$schema=../search/space.schema.json"
SCHEMA_THERE = "$schema=../space.schema.json"


class BuildWithSpaces(build_py):
    """The packages, and the spaces with a first line that finds the schema from where they then are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the repository's own are found
            return
        for target, source in self._spaces().items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text(encoding="utf-8").replace(SCHEMA, SCHEMA_THERE), encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *map(str, self._spaces())]

    def _spaces(self) -> dict[Path, Path]:
        return {Path(self.build_lib, "search", path): path for path in sorted(Path("spaces").glob("*.yaml"))}


setup(cmdclass={"build_py": BuildWithSpaces})
