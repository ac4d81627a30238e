"""Of very many components some are told apart, and the sum of all is right."""

from tekton.service.readings.per_component import PerComponent


def test_the_first_ones_are_told_apart_in_all_metrics_and_the_rest_is_summed() -> None:
    each = PerComponent(2)
    readings = [
        each(name, component, value, *labels)
        for component, value in (("a", 1.0), ("b", 2.0), ("c", 4.0), ("d", 8.0))
        for name, labels in (("cpu", ()), ("exits", ("error",)))
    ]

    told = [reading for reading in [*readings, *each.rest()] if reading is not None]

    assert [(one.name, one.labels, one.value) for one in told] == [
        ("cpu", ("a",), 1.0),
        ("exits", ("a", "error"), 1.0),
        ("cpu", ("b",), 2.0),
        ("exits", ("b", "error"), 2.0),
        ("cpu", ("overflow",), 12.0),
        ("exits", ("overflow", "error"), 12.0),
    ]


def test_few_components_leave_no_rest() -> None:
    each = PerComponent()

    assert each("cpu", "a", 1.0) is not None
    assert list(each.rest()) == []
