"""Development sessions: `nox` runs them all, each in its own environment; `nox --no-venv` uses the present one."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "cpp", "tests"]

CONSTRAINTS = ("-c", "constraints.txt")


def install(session: nox.Session, *packages: str) -> None:
    """Install into the session's own environment; without one, everything is expected to be there."""
    if session.virtualenv.is_sandboxed:
        session.install(*CONSTRAINTS, *packages)


def run_cpp_tests(session: nox.Session, name: str, *options: str) -> None:
    """Build the core from nothing, with CMake's `options`, and run its tests."""
    install(session, "cmake>=3.20", "ninja>=1.11")
    build = Path(session.create_tmp()) / name
    shutil.rmtree(build, ignore_errors=True)
    common = ["-G", "Ninja", "-DHPCPDF_PYTHON=OFF", "-DHPCPDF_TESTS=ON"]
    session.run("cmake", "-S", ".", "-B", str(build), *common, *options)
    session.run("cmake", "--build", str(build))
    session.run("ctest", "--test-dir", str(build), "--output-on-failure")


@nox.session
def lint(session: nox.Session) -> None:
    """Style of Python and C++, and the direction of imports."""
    install(session, "ruff>=0.9", "clang-format>=18", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    sources = sorted(str(path) for pattern in ("*.cpp", "*.hpp") for path in Path("csrc").rglob(pattern))
    session.run("clang-format", "--dry-run", "--Werror", *sources)
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Static types, strict."""
    install(session, ".[dev]")
    session.run("mypy")


@nox.session
def cpp(session: nox.Session) -> None:
    """Unit tests of the C++ core, built without Python."""
    run_cpp_tests(session, "cpp")


@nox.session
@nox.parametrize("kind", ["address,undefined", "thread"], ids=["memory", "thread"])
def sanitizers(session: nox.Session, kind: str) -> None:
    """The C++ unit tests under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer."""
    flags = f"-O1 -g1 -fsanitize={kind} -fno-sanitize-recover=all -fno-omit-frame-pointer"
    run_cpp_tests(session, kind.partition(",")[0], "-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={flags}")


@nox.session
def tests(session: nox.Session) -> None:
    """Python tests against the installed package."""
    install(session, ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Micro-benchmarks against peers; each asserts the answer before it is timed."""
    install(session, ".[test]")
    session.run("pytest", "benchmarks/micro", "--benchmark-only", *session.posargs)


@nox.session
def sdist(session: nox.Session) -> None:
    """Build a source archive and install from it, as a user without git does."""
    install(session, "build>=1.2")
    folder = Path(session.create_tmp()) / "sdist"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--outdir", str(folder))
    install(session, *(str(path) for path in folder.glob("*.tar.gz")))
    session.run("hpcpdf", "--version")
