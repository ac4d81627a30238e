"""What was measured, traced, and is remembered."""

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "HistoryUnknownError",
    "InvalidMetricError",
    "MetricError",
    "MetricExistsError",
    "MetricNotFoundError",
    "TraceNotFoundError",
]


class HistoryUnknownError(TektonError):
    """Nothing is known (any more) of what was at a time. `at` and `since`, from when on it is, are in UTC."""

    code = "history_unknown"
    hint = "ask about a later time; tekton.monitoring.history_age and history_size say how long telemetry is kept"

    def __init__(self, at: str, since: str) -> None:
        self.at = at
        self.since = since
        super().__init__(f"nothing is known of {at}: there is data since {since}")


class MetricError(TektonError):
    """Base of what is refused about a metric. Nothing was changed."""

    code = "metric"


class InvalidMetricError(MetricError):
    """A metric cannot be declared so, or its value or labels cannot be recorded."""

    code = "invalid_metric"

    def __init__(self, metric: str, problem: str) -> None:
        self.metric = metric
        self.problem = problem
        super().__init__(f"metric {metric!r}: {problem}")


class MetricExistsError(MetricError):
    """Another metric has the name already, or exposes samples under the same name."""

    code = "metric_exists"

    def __init__(self, metric: str, other: str) -> None:
        self.metric = metric
        self.other = other
        what = "otherwise" if metric == other else f"as {other!r}, or with samples of the same name"
        super().__init__(f"metric {metric!r} is declared already, {what}")


class MetricNotFoundError(MetricError):
    """There is no such metric."""

    code = "metric_not_found"

    def __init__(self, metric: str, nearest: str | None = None) -> None:
        self.metric = metric
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(f"no metric {metric!r}")


class TraceNotFoundError(TektonError):
    """No span of that trace is kept: there never was one, or it has been forgotten."""

    code = "trace_not_found"
    hint = "tekton trace ls"

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        super().__init__(f"no trace {trace_id[:64]!r}")
