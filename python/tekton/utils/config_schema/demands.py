"""What a component takes of its machine: what must be free for it, and the most that it may use."""

from typing import Annotated

from msgspec import Meta

from tekton.utils.config_rules import check_size
from tekton.utils.config_schema.base import Percent, Section, Size


class ConstraintSpec(Section, frozen=True, kw_only=True):
    """What must be free on the machine for the component to start."""

    cpu_percent_max: Annotated[Percent | None, Meta(description="Highest CPU usage, in percent.")] = None
    memory_percent_max: Annotated[Percent | None, Meta(description="Highest memory usage, in percent.")] = None
    memory_free_min: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="Least free memory, in GiB.")] = (
        None
    )
    disk_free_min: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="Least free space where its `cwd` is, in GiB.")
    ] = None
    gpu_mem_free_min: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="Least free GPU memory, in GiB.")
    ] = None


class LimitSpec(Section, frozen=True, kw_only=True):
    """The most that a component may use; what is absent is not limited by Tekton."""

    open_files: Annotated[
        Annotated[int, Meta(ge=16, le=1_000_000_000)] | None, Meta(description="Descriptors that a process may have.")
    ] = None
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=4_194_304)] | None,
        Meta(description="Processes and threads that its user may have. Does not bind root."),
    ] = None
    memory: Annotated[
        int | str | None, Meta(description="Memory, in bytes or as in `512M`.", extra={"check": check_size})
    ] = None


class LogSpec(Section, frozen=True, kw_only=True):
    """How much of what a component prints is kept."""

    max_size: Annotated[Size, Meta(description="Size at which the log is rotated, in bytes or as in `64M`.")] = "64M"
    keep: Annotated[Annotated[int, Meta(ge=1, le=20)], Meta(description="How many older files are kept.")] = 3
