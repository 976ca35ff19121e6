"""What the repository says about itself agrees with what it does."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata, resources

import pytest

import hpcpdf

CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "tensorboardX": "tensorboardx"}
"""Names that differ between PyPI and conda-forge."""


def _shell(text: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines() if line]


def _documents(root):
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]


def test_version_is_stated_once_over(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["version"] == hpcpdf.__version__ == metadata.version("hpcpdf")
    assert f"## {hpcpdf.__version__}" in (root / "CHANGELOG.md").read_text()


def test_the_check_of_a_change_runs_the_two_commands_of_the_readme(root):
    first, second = _shell((root / "README.md").read_text())[:2]
    script = (root / ".ci" / "run").read_text()
    install, run = first.split(" && ")
    assert install.removeprefix("pip install") in script
    assert run in script
    assert script.rstrip().splitlines()[-1] == second


def test_conda_environment_has_every_dependency(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    environment = (root / "environment.yml").read_text()
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["diffpy"], *extras["test"]]:
        name, least = re.fullmatch(r"([\w.-]+?)(>=[\d.]+)?", requirement.partition(";")[0].strip()).groups()
        found = re.search(rf"^  - {re.escape(CONDA.get(name, name))}(>=[\d.]+)?$", environment, re.MULTILINE)
        assert found, requirement
        assert found.group(1) in (least, None), requirement


def test_links_lead_somewhere(root):
    for document in _documents(root):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_commands_in_the_documents_exist(root, hpcpdf_command):
    helps: dict[str, str] = {}
    for document in _documents(root):
        for line in _shell(document.read_text()):
            for verb, rest in re.findall(r"hpcpdf ((?:jobs |config )?[a-z]+)( [^#|&>]*)?", line):
                if verb not in helps:
                    helps[verb] = hpcpdf_command(*verb.split(), "--help").stdout
                for option in re.findall(r"--[a-z-]+", rest):
                    assert option in helps[verb], f"{document.name}: {line}"
    assert all(text.startswith("Usage: hpcpdf") for text in helps.values())


@pytest.mark.parametrize("name", ["py.typed", "_core.pyi", "model/weights/default.json"])
def test_type_information_and_the_model_are_installed(name):
    assert (resources.files("hpcpdf") / name).is_file()


def test_the_shipped_model_is_no_burden():
    assert (resources.files("hpcpdf") / "model" / "weights" / "default.safetensors").stat().st_size < 30e6


def test_the_tested_package_has_its_compiled_core():
    from hpcpdf import _core

    assert _core.compiled_instruction_level()
