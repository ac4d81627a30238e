"""A unit for systemd: `tekton up` as a service, with as little of the machine as it needs.

What it leaves open, and why: the folder of the configuration and the data directory can be written, since components
do; programs may make code while they run (Node.js, Java), so MemoryDenyWriteExecute is not there; devices are as for
any other service, since components may need a GPU; and what lies below /tmp is only seen without a /tmp of its own.

The data directory is that of tekton.json, so that `tekton` in the folder finds the system; without one it is a folder
of its own in /var/lib.
"""

import shlex
from pathlib import Path

from tekton.generate.blueprint import Blueprint, Generated
from tekton.utils.tekton_config import ComponentSpec

_UNIT = """\
# The system {name}. To install it:
#
{prepared}#     sudo install -m 644 {name}.service /etc/systemd/system/
#     sudo systemctl daemon-reload
#     sudo systemctl enable --now {name}
#
# Then: tekton ps --data-dir {shell_data}, as {user} or root. `systemd-analyze security {name}` says what it may do.

[Unit]
Description=Tekton: {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
WorkingDirectory={directory}
Environment={data}
ExecStart={program} up --no-progress
ExecReload={program} reload
# In order, dependents first; what has not ended by then is killed.
KillMode=mixed
TimeoutStopSec={patience}
Restart=on-failure
RestartSec=2
# A wrong configuration, and data that cannot be used, do not get better by trying again.
RestartPreventExitStatus=8 78

# The memory limits of components need a group of their own.
Delegate=memory pids
DelegateSubgroup=main
{state}UMask=0077
LimitNOFILE=65536

NoNewPrivileges={confined}
CapabilityBoundingSet={capabilities}
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={home}
PrivateTmp={own_tmp}
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=default
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID={confined}
SystemCallArchitectures=native
SystemCallFilter=@system-service{privileged}
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")
_STATE = Path("/var/lib")
_SHORTEST = 30


def systemd(system: Blueprint, program: Path, user: str) -> Generated:
    """The unit of *system*: *program* is the command `tekton`, *user* who it runs as."""
    others = any(part.spec.user is not None for part in system.parts)
    user = "root" if others else user
    data = system.data_dir or _STATE / system.name
    places = (system.directory, data, program)
    text = _UNIT.format(
        name=system.name,
        user=user,
        prepared=_prepared(data, user),
        shell_data=shlex.quote(str(data)),
        directory=_escaped(system.directory),
        data=_word(f"TEKTON_DATA_DIR={data}"),
        state=_state(data),
        writable=" ".join(map(_word, dict.fromkeys((system.directory, *([] if _is_state(data) else [data]))))),
        program=_word(program),
        patience=_patience([part.spec for part in system.parts]),
        confined="no" if others else "yes",
        capabilities="CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER" if others else "",
        privileged=" @setuid @chown" if others else "",
        # What lies there can be read, so that the system may; the rest of it cannot be written.
        home="read-only" if any(_lies_in(path, _HOMES) for path in places) else "yes",
        own_tmp="no" if any(_lies_in(path, _TEMPORARY) for path in places) else "yes",
    )
    name = f"{system.name}.service"
    return Generated({name: text}, text)


def _prepared(data: Path, user: str) -> str:
    """What has to be there first: who runs it, and the data directory where systemd does not make it."""
    place = shlex.quote(str(data))
    lines = [] if user == "root" else [f"useradd --system --home-dir {place} --shell /usr/sbin/nologin {user}"]
    if not _is_state(data):
        lines += [f"mkdir --parents {place}", f"chown --recursive {user} {place}"]
    return "".join(f"#     sudo {line}\n" for line in lines)


def _state(data: Path) -> str:
    """Has systemd make the data directory, where it does such things."""
    return f"StateDirectory={_word(data.relative_to(_STATE))}\nStateDirectoryMode=0700\n" if _is_state(data) else ""


def _is_state(data: Path) -> bool:
    return data != _STATE and data.is_relative_to(_STATE)


def _patience(specs: list[ComponentSpec]) -> int:
    """Seconds for an orderly stop: the components of a chain are stopped one after the other."""
    return max(_SHORTEST, round(sum(spec.stop_timeout + spec.drain for spec in specs)) + 10)


def _escaped(path: Path | str) -> str:
    return str(path).replace("%", "%%")


def _word(path: Path | str) -> str:
    """*path* as one word of a line that may have several."""
    text = _escaped(path)
    return f'"{text}"' if " " in text else text


def _lies_in(path: Path, places: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(place) for place in places)
