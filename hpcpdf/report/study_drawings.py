"""The figures of a study with what they show and what they say; only those whose data are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from hpcpdf.report import study_figures, study_structures, study_text
from hpcpdf.report.study_data import MODELS, SATELLITES, Study

_STRIPS = 3


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure of the report.

    Attributes
    ----------
    name
        Of its files.
    title
        Of its part of the page.
    caption
        What is drawn.
    findings
        What it says, in sentences made of the numbers.
    figure
        To be saved.
    """

    name: str
    title: str
    caption: str
    findings: list[str]
    figure: Figure


def drawings(study: Study) -> Iterator[Drawing]:
    """Draw what there is, in the order of the page."""
    splits = study_figures.present_splits(study)
    if splits:
        yield from _scores(study)
        yield from _latent_space(study, splits[0])
        yield from _reconstructions(study, splits)
    if study.satellites:
        yield Drawing(
            "satellites",
            "Number of satellites",
            "Error of the reconstruction against the number of satellites. Solver alone: exact distances with normal "
            "noise of standard deviation σ, so that what the network adds can be told; band: standard deviation over "
            "the PDFs.",
            study_text.satellites(study.satellites),
            study_figures.satellites_figure(study.satellites),
        )
    if splits:
        yield Drawing(
            "learning",
            "Learning curves",
            f"Loss by epoch of every member with {SATELLITES} satellites; its parts differ between the models, so "
            "compare curves within a panel only.",
            study_text.learning(study),
            study_figures.learning_figure(study),
        )


def _scores(study: Study) -> Iterator[Drawing]:
    yield Drawing(
        "pearson",
        "Agreement of the PDFs",
        "A point is a PDF of the test split, all seeds together. The published values are those of Table 1 of the "
        "reference, on its own random split.",
        study_text.reached(study),
        study_figures.distributions_figure(study),
    )
    if study.factors:
        yield Drawing(
            "factors",
            "Where the correlation is lost",
            "Mean Pearson when one thing alone is corrected in the published protocol; ticks are single seeds.",
            study_text.factors(study),
            study_figures.factors_figure(study),
        )


def _latent_space(study: Study, split: str) -> Iterator[Drawing]:
    shown = study.pairs(split)
    labels = [member.label for member in shown]
    yield Drawing(
        "latent",
        "Latent space",
        "Filled: where the network puts a PDF. Open: where it puts the structure itself. "
        + ("" if shown[0].latent["prior"].shape[1] == 2 else "First two coordinates of more."),
        study_text.latent(shown),
        study_structures.latent_figure(shown),
    )
    for index, strips in enumerate(study_structures.common_strips(shown, _STRIPS), start=1):
        yield Drawing(
            f"strip-{index}",
            f"From A to B, pair {strips[0]['pair']}",
            "Structures decoded at equal steps between the latent vectors of two test PDFs, all on one scale; atoms "
            "coloured by their number of neighbours (dark: few, yellow: many, grey: 12). R_w is to the PDF of the "
            "nearest real cluster.",
            study_text.strip(labels, strips),
            study_structures.strip_figure(labels, strips),
        )
    if not any(study_figures.valid_by_fraction(study, split, kind) for kind in MODELS):
        return
    yield Drawing(
        "validity",
        "Validity along the way",
        "Left: share of valid structures, all pairs and seeds; bands are 95 % intervals (Wilson). Right: share of the "
        "structures between the ends that meet each criterion.",
        study_text.validity(study, split),
        study_figures.validity_figure(study, split),
    )


def _reconstructions(study: Study, splits: list[str]) -> Iterator[Drawing]:
    shown = study.pairs(splits[0])
    yield Drawing(
        "fits",
        "Observed and reconstructed PDFs",
        f"Best, typical and worst reconstruction of the {splits[0]} split by Pearson, one sample of the latent vector; "
        "the calculated PDF is scaled to the observed one, nothing else is fitted.",
        study_text.fits(shown),
        study_structures.fits_figure(shown),
    )
    yield Drawing(
        "atoms",
        "Number of atoms",
        "Atoms of one sample against the true number; on the line it is right.",
        study_text.atoms(study, splits),
        study_structures.atoms_figure(study, splits),
    )
