"""The system that `tekton init` writes: two components, one with the SDK and one that has never heard of Tekton."""

import zlib
from pathlib import Path

from tekton.cli.json_layout import laid_out

_FIRST_PORT = 8100
_PAIRS = 900
DATA_DIR = ".tekton"
SCHEMAS = f"{DATA_DIR}/schemas"

_GREETER = '''\
"""A component with the SDK: it registers itself, sends heartbeats, and leaves cleanly."""

import tekton

app = tekton.Component("greeter", capabilities=["greet"])


@app.tool
async def greet(name: str) -> str:
    "Greet somebody by name."
    return f"Hello, {name}."


app.run()
'''

_CALLER = '''\
"""A component without the SDK, as any program in any language is: it asks for a greeting every ten seconds."""

import itertools
import json
import os
import time
import urllib.request

TOOL = f"{os.environ['GREETER']}/api/tools/greet"

for name in itertools.cycle(["Ada", "Grace", "Alan"]):
    body = json.dumps({"name": name}).encode()
    request = urllib.request.Request(TOOL, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        print(json.load(answer)["result"], flush=True)  # components.json waits for the first of these lines
    time.sleep(10)
'''

_README = """\
# {title}

A system of two components, written by `tekton init`.

| File | |
|---|---|
| `components.json` | the components: what to run, what each needs first, how to tell that it is ready |
| `tekton.json` | the control plane: its port (no other system on this machine should have it), its data in `.tekton` |
| `greeter.py` | a component with the SDK |
| `caller.py` | a component that is just a program; it calls the greeter |

```sh
tekton up -d            # start both, in the right order
tekton ps               # what runs
tekton logs -f          # what they print
tekton why caller       # why it is in its state, and what it depends on
tekton down             # stop everything
```

Change `components.json`, then `tekton config check`. What the keys mean: an editor shows it when it follows `$schema`,
and so does `tekton config schema components`. The greeter answers over HTTP as well:

```sh
curl http://127.0.0.1:{greeter_port}/api/tools/greet -H 'content-type: application/json' -d '{{"name": "you"}}'
```
"""


def ports_for(directory: Path) -> tuple[int, int]:
    """The ports of the control plane and the greeter: the same whenever asked, others for another directory."""
    # Beside the ports of the specification (8000 to 8080), and below those that the system gives to clients.
    first = _FIRST_PORT + 2 * (zlib.crc32(str(directory).encode()) % _PAIRS)
    return first, first + 1


def files_for(directory: Path, port: int, greeter_port: int) -> dict[str, str]:
    """What to write, by path relative to *directory*."""
    return {
        "tekton.json": laid_out(_main(port)) + "\n",
        "components.json": laid_out(_components(greeter_port)) + "\n",
        "greeter.py": _GREETER,
        "caller.py": _CALLER,
        "README.md": _README.format(title=directory.name or "A system", greeter_port=greeter_port),
        ".gitignore": f"{DATA_DIR}/\n",
    }


def _main(port: int) -> dict[str, object]:
    return {"$schema": f"./{SCHEMAS}/tekton.schema.json", "tekton": {"port": port, "data_dir": DATA_DIR}}


def _components(greeter_port: int) -> dict[str, object]:
    return {
        "$schema": f"./{SCHEMAS}/components.schema.json",
        "components": {
            "greeter": {
                "command": ["python3", "greeter.py"],
                "port": greeter_port,
                "capabilities": ["greet"],
                "ready": {"http": "/api/ready", "interval": 0.1},
                "metadata": {"about": "Ready as soon as it answers on its port, which it is told in PORT."},
            },
            "caller": {
                "command": ["python3", "caller.py"],
                "env": {"GREETER": f"http://127.0.0.1:{greeter_port}"},
                "dependencies": ["greeter"],
                "ready": {"log": "^Hello"},
                "metadata": {"about": "Started when the greeter is ready; ready itself when it prints a greeting."},
            },
        },
    }
