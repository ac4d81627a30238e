"""The numbers about its own process that a component sends with each heartbeat."""


class ProcessMetrics:
    """Reads CPU and memory of this process. The first reading of the CPU is 0: it measures since the last one."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._process.cpu_percent()

    def read(self) -> dict[str, float]:
        """`cpu_percent` (of one core), `memory_percent` (of the machine) and `memory_mib`."""
        with self._process.oneshot():
            return {
                "cpu_percent": round(self._process.cpu_percent(), 2),
                "memory_percent": round(self._process.memory_percent(), 3),
                "memory_mib": round(self._process.memory_info().rss / 2**20, 2),
            }
