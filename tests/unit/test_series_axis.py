"""Where the files of a series stand: by header, by name, by order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hpcpdf.series.axis import Axis, natural_key, series_axis


def found(names: Sequence[str], headers: Sequence[dict[str, str]] | None = None) -> tuple[list[str], Axis]:
    order, axis = series_axis(names, headers or [{} for _ in names])
    return [names[k] for k in order], axis


@pytest.mark.parametrize(
    ("names", "quantity", "unit", "values"),
    [
        (["Pt_300K.gr", "Pt_1000K.gr", "Pt_90K.gr"], "temperature", "K", (90, 300, 1000)),
        (["a_T300.gr", "a_T90.gr"], "temperature", "K", (90, 300)),
        (["heat_25C.gr", "heat_-10C.gr"], "temperature", "°C", (-10, 25)),
        (["run-10C.gr", "run-200C.gr"], "temperature", "°C", (10, 200)),
        (["s_12.5min.gr", "s_3min.gr"], "time", "min", (3, 12.5)),
        (["s_90s.gr", "s_2min.gr", "s_1h.gr"], "time", "s", (90, 120, 3600)),
        (["line_0.5mm.gr", "line_0.25mm.gr"], "position", "mm", (0.25, 0.5)),
        (["grid_x3_2nm.gr", "grid_x12_2nm.gr"], "position", "", (3, 12)),
        (["scan_0010.gr", "scan_0009.gr"], "number", "", (9, 10)),
        (["t5_run2.gr", "t60_run1.gr"], "time", "s", (5, 60)),
        (["Pt_2nm_300K_0002.gr", "Pt_2nm_200K_0001.gr"], "temperature", "K", (200, 300)),
        (["cell_1.2V.gr", "cell_0.4V.gr"], "potential", "V", (0.4, 1.2)),
        (["cooled300K.gr", "again_100K_2.gr"], "temperature", "K", (100, 300)),
    ],
)
def test_names_tell(names: list[str], quantity: str, unit: str, values: tuple[float, ...]) -> None:
    _, axis = found(names)
    assert (axis.quantity, axis.unit, axis.values, axis.source) == (quantity, unit, values, "names")


def test_headers_come_first() -> None:
    headers = [{"temperature": "300 K"}, {"temperature": "25 C"}]
    order, axis = found(["b_1s.gr", "a_2s.gr"], headers)
    assert axis == Axis("temperature", "K", (298.15, 300.0), "header")
    assert order == ["a_2s.gr", "b_1s.gr"]
    assert found(["b_1s.gr", "a_2s.gr"], [{"temperature": "300"}] * 2)[1].quantity == "time"
    assert found(["b_1s.gr", "a_2s.gr"], [{"temperature": "300"}, {}])[1].quantity == "time"


def test_a_ramp_up_and_down_keeps_the_order_of_the_files() -> None:
    names = ["r_0001_300K.gr", "r_0002_400K.gr", "r_0003_300K.gr", "r_0010_200K.gr"]
    order, axis = found(names[::-1])
    assert order == names
    assert axis.values == (300, 400, 300, 200)


def test_names_without_numbers_are_in_their_order() -> None:
    order, axis = found(["b.gr", "a.gr"])
    assert order == ["a.gr", "b.gr"]
    assert axis == Axis("number", "", (1.0, 2.0), "order")
    assert axis.column == "number"


def test_the_order_does_not_depend_on_the_order_given() -> None:
    names = [f"T{k}_b.gr" for k in (5, 50, 500, 10)]
    assert found(names)[0] == found(names[::-1])[0] == ["T5_b.gr", "T10_b.gr", "T50_b.gr", "T500_b.gr"]


def test_a_file_alone_stands_somewhere_too() -> None:
    assert found(["Pt_300K_7.gr"])[1] == Axis("temperature", "K", (300.0,), "names")
    assert found(["a.gr"], [{"temperature": "25 C"}])[1] == Axis("temperature", "°C", (25.0,), "header")
    assert found(["a.gr"])[1] == Axis("number", "", (1.0,), "order")


def test_columns_are_plain() -> None:
    assert found(["a_5um.gr", "a_7um.gr"])[1].column == "position_um"
    assert found(["a_5C.gr", "a_7C.gr"])[1].column == "temperature_C"


def test_numbers_in_names_sort_as_numbers() -> None:
    assert sorted(["run10", "run2", "Run1.5", "run"], key=natural_key) == ["run", "Run1.5", "run2", "run10"]
