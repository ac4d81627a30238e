"""An image of a system: Tekton, what the components need of Python, and the folder of the configuration."""

from tekton.generate.blueprint import CREDENTIAL, DATA, ROOT, USER, Blueprint, Generated

_HEAD = """\
# The system {name} as an image. From the folder of its components.json:
#
#     docker build --tag {image} .
#     docker run --publish 127.0.0.1:8010:8010 --volume {name}-data:/data --read-only --tmpfs /tmp {image}
#
# By itself it runs the whole system in one container, by `tekton up`. Its root file system need not be written to: let
# components write below /data. Programs that are no Python need their own lines here (RUN apt-get install …).
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
_IMAGE = """
FROM python:3.13-slim
# Group 0 may write where the user may, so that a platform can choose the user.
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
    text = _HEAD.format(name=system.name, image=system.image) + _BUILD.format(version=system.version)
    text += _REQUIREMENTS if system.requirements else ""
    text += _IMAGE.format(
        user=USER,
        data=DATA,
        root=ROOT,
        credential=CREDENTIAL.rpartition("/")[0],
        ports=" ".join(map(str, ports)),
    )
    return Generated({"Dockerfile": text, ".dockerignore": _IGNORED}, text)
