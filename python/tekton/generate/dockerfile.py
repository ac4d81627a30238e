"""An image of a system: Tekton, what the components need of Python, and the folder of the configuration."""

import textwrap

from tekton.generate.blueprint import CREDENTIAL, DATA, ROOT, USER, Blueprint, Generated
from tekton.generate.programs import note, packages

_HEAD = """\
# The system {name} as an image. From the folder of its components.json:
#
#     docker build --tag {image} .
#     docker run --publish 127.0.0.1:8010:8010 --volume {name}-data:/data --read-only --tmpfs /tmp {image}
#
# By itself it runs the whole system in one container, by `tekton up`. Its root file system need not be written to: let
# components write below /data.{programs}
"""
_BUILD = """
FROM python:3.13-slim AS build
RUN python -m venv /opt/tekton
RUN /opt/tekton/bin/pip install --no-cache-dir tekton-core=={version}
"""
_REQUIREMENTS = """\
COPY requirements.txt /build/
RUN /opt/tekton/bin/pip install --no-cache-dir --requirement /build/requirements.txt
"""
_PACKAGES = """\
RUN apt-get update && apt-get install --yes --no-install-recommends {packages} && rm -rf /var/lib/apt/lists/*
"""
_IMAGE = """
FROM python:3.13-slim
{packages}# Group 0 may write where the user may, so that a platform can choose the user.
RUN useradd --uid {user} --gid 0 --no-create-home --home-dir {data} --shell /usr/sbin/nologin tekton && \\
    install --directory --mode 2770 --owner {user} --group 0 {data} {credential}
COPY --from=build /opt/tekton /opt/tekton
COPY . {root}
ENV PATH=/opt/tekton/bin:$PATH \\
    HOME={data} \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1 \\
    TEKTON_DATA_DIR={data} \\
    TEKTON_HOST=0.0.0.0 \\
    TEKTON_PORT=8010
WORKDIR {root}
USER {user}
VOLUME ["{data}"]
EXPOSE {ports}
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \\
    CMD ["python", "-m", "tekton.service.health"]
CMD ["tekton", "up", "--no-progress"]
"""
_IGNORED = """\
# What does not belong into an image: data, secrets, what belongs to this machine.
.git
.tekton
.venv
**/__pycache__
**/.env
**/*.key
data
Dockerfile
compose.yaml
kubernetes
"""


def dockerfile(system: Blueprint) -> Generated:
    """The Dockerfile of *system*, and what is left out of its image."""
    ports = sorted({8010, *(part.spec.port for part in system.parts if part.spec.port)})
    head = _HEAD.format(name=system.name, image=system.image, programs=_about_programs(system))
    known = packages(system)
    text = head + _BUILD.format(version=system.version)
    text += _REQUIREMENTS if system.requirements else ""
    text += _IMAGE.format(
        packages=_PACKAGES.format(packages=" ".join(known)) if known else "",
        user=USER,
        data=DATA,
        root=ROOT,
        credential=CREDENTIAL.rpartition("/")[0],
        ports=" ".join(map(str, ports)),
    )
    return Generated({"Dockerfile": text, ".dockerignore": _IGNORED}, text)


def _about_programs(system: Blueprint) -> str:
    """Which components need more than Python, and what of it is installed here."""
    known = ", ".join(packages(system))
    sentences = [
        *note(system),
        *([f"Installed here: {known}; anything else needs lines of your own."] if known else []),
    ]
    return "".join(f"\n#\n{textwrap.fill(one, 118, initial_indent='# ', subsequent_indent='# ')}" for one in sentences)
