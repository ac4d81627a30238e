"""What every verb looks like when it is used: the examples at the end of its help, each with what it does."""

import click

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "init": (
        ("tekton init demo", "a small system in the folder demo"),
        ("tekton init", "the same in this folder"),
    ),
    "up": (
        ("tekton up", "start, show what happens, stop on Ctrl-C"),
        ("tekton up -d --timeout 60s", "return when all is ready, or after a minute"),
        ("tekton up --data-dir .other --port 0", "a second system beside the first"),
        ("tekton up rhetor @tools", "rhetor, the group tools, and what they depend on"),
        ("tekton up --profile gpu --auto-port", "the profile gpu too, on another port if 8010 is taken"),
    ),
    "reload": (
        ("tekton reload", "after components.json was edited"),
        ("tekton reload -o json", "what it has done, for a program"),
    ),
    "run": (
        ("tekton run -- node server.js", "until Ctrl-C, with its output"),
        ("tekton run --port 9100 --ready http:/healthz -d -- node server.js", "return when it is ready"),
        ("tekton run --name worker --needs hermes --restart always -- ./worker", "after hermes, again and again"),
    ),
    "down": (("tekton down", "stop everything in order"),),
    "ps": (
        ("tekton ps", "all components"),
        ("tekton ps hermes -o json", "one of them, for a program"),
        ("tekton ps -w --state failed", "what has failed, and what fails from now on"),
        ("tekton ps --at 10:31", "how it was then"),
        ("tekton ps -o template='{name:<12} {state}'", "a line of one's own for each"),
    ),
    "attach": (("tekton attach", "until Ctrl-C, which leaves the system running"),),
    "top": (
        ("tekton top", "until q is pressed"),
        ("tekton top --sort mem | head", "once, the largest first"),
    ),
    "start": (
        ("tekton start hermes @tools", "one after the other; @tools is a group"),
        ("tekton start --force rhetor", "although something that it depends on cannot be used"),
    ),
    "stop": (("tekton stop hermes", "it stays stopped until it is started again"),),
    "restart": (
        ("tekton restart hermes --timeout 30s", "and wait for it, half a minute at most"),
        ("tekton restart --rolling worker", "replica by replica, so that some serve all the time"),
    ),
    "rm": (("tekton rm billing", "stops it; its history stays"),),
    "drain": (
        ("tekton drain worker", "callers go to others; it goes on running"),
        ("tekton drain --undo worker", "they come back"),
    ),
    "scale": (("tekton scale worker=3", "three replicas, until the next change of its configuration"),),
    "wait": (
        ("tekton wait hermes", "until it is ready"),
        ("tekton wait hermes engram --for serving --timeout 1m", "until both take traffic, for a minute at most"),
        ("tekton wait --for capability=chat", "until anybody offers it"),
    ),
    "kill": (
        ("tekton kill hermes", "as if it had crashed: its policy restarts it"),
        ("tekton kill hermes -s HUP", "another signal"),
    ),
    "chaos": (("tekton chaos kill hermes --dry-run", "who would do its work, and who would miss it"),),
    "chaos kill": (
        ("tekton chaos kill hermes --dry-run", "who would do its work, and who would miss it"),
        ("tekton chaos kill hermes --hold", "and it stays down until it is started"),
        ("tekton chaos kill hermes --dry-run --offline", "by the configuration, before anything runs"),
    ),
    "graph": (
        ("tekton graph", "everything, as a tree"),
        ("tekton graph hermes --invert", "what needs hermes"),
        ("tekton graph -o mermaid > graph.mmd", "for a document"),
    ),
    "critical-path": (
        ("tekton critical-path", "where the time of the last start went"),
        ("tekton critical-path --trace start.json", "all of it, for ui.perfetto.dev"),
    ),
    "why": (("tekton why hermes", "its state, the cause, and what depends on it"),),
    "logs": (
        ("tekton logs hermes -n 20", "its last twenty lines"),
        ("tekton logs -f", "all components, as they print"),
        ("tekton logs hermes --previous --level error", "what went wrong before its last start"),
        ("tekton logs --query 'level>=warning /time(d )?out/ -healthcheck'", "what is looked for, in all of them"),
    ),
    "log-level": (
        ("tekton log-level", "how much the control plane logs"),
        ("tekton log-level tekton.gateway debug --for 10m", "more of its gateway, for ten minutes"),
        ("tekton log-level tekton.gateway --reset", "as before"),
    ),
    "trace": (("tekton trace ls", "what was done lately"),),
    "trace ls": (
        ("tekton trace ls", "the latest traces"),
        ("tekton trace ls --component rhetor --min 500ms", "what took rhetor long"),
        ("tekton trace ls --failed --since 1h -o json", "what went wrong within the last hour, for a program"),
    ),
    "trace show": (
        ("tekton trace show", "the latest one"),
        ("tekton trace show -o json", "the same for a program"),
    ),
    "tool": (("tekton tool ls", "what can be called now"),),
    "tool ls": (
        ("tekton tool ls", "all tools that can be called now"),
        ("tekton tool ls --component greeter -o json", "those of one component with their schemas, for a program"),
    ),
    "tool show": (("tekton tool show greeter.greet", "what it takes, and what it returns"),),
    "tool call": (
        ("tekton tool call greeter.greet name=Ada excited=true", "as the schema says, a text and a truth value"),
        ("tekton tool call greet --json arguments.json", "the only tool of that name, with what is in a file"),
        ("tekton tool call report.write year=2026 --timeout 5m -r > report.txt", "a text as it is, in a file"),
    ),
    "msg": (("tekton msg send orders.new '{\"amount\": 3}'", "tell whoever listens"),),
    "msg send": (
        ("tekton msg send orders.new '{\"amount\": 3}'", "an event whose content is an object"),
        ("date | tekton msg send clock.now -", "with what is on stdin, a text"),
    ),
    "msg request": (
        ("tekton msg request library.requests.find tekton", "with a text, for 10 seconds at most"),
        ("tekton msg request library.requests.find tekton --timeout 1m -o json", "the whole answer, for a program"),
    ),
    "msg watch": (
        ("tekton msg watch 'orders.>'", "until Ctrl-C"),
        ("tekton msg watch '>' --stream orders --since 1h -n 1 -o json", "the oldest of the last hour, for a program"),
    ),
    "msg streams": (("tekton msg streams", "what they keep, and who is behind"),),
    "msg consumer": (("tekton msg consumer ls", "who works through the streams, and how far that is"),),
    "msg consumer ls": (("tekton msg consumer ls orders", "only those of one stream"),),
    "msg consumer show": (("tekton msg consumer show orders billing", "how it is served, and how far it is"),),
    "msg consumer rm": (("tekton msg consumer rm orders billing", "once nobody works under its name any more"),),
    "msg dead": (("tekton msg dead ls", "with what nobody got done, and why"),),
    "msg dead ls": (("tekton msg dead ls --stream orders", "only those of one stream"),),
    "msg dead resend": (("tekton msg dead resend 17", "once what was wrong with it is mended"),),
    "agent": (("tekton agent ls", "who can do what"),),
    "agent ls": (
        ("tekton agent ls --capability code_review", "who can review code"),
        ("tekton agent ls --version '>=1.2, <2' --locality remote", "those of such a version that are elsewhere"),
        ("tekton agent ls --health unusable -o name", "who cannot be asked now"),
    ),
    "agent show": (("tekton agent show reviewer", "what it can do, and where it is"),),
    "agent register": (
        (
            "tekton agent register german https://agents.example/de --capability translate --credential token.txt",
            "without --capability, its card says what it can do",
        ),
    ),
    "agent rm": (("tekton agent rm german", "it is not asked any more"),),
    "task": (("tekton task ls", "what is to be done, and how far it is"),),
    "task run": (
        ("tekton task run code_review code='def f(): ...'", "by whoever can, until it is done"),
        ("tekton task run code_review --inputs arguments.json --timeout 5m -o json", "with what is in a file"),
        ("tekton task run code_review code=x --no-wait", "print its id, and return at once"),
    ),
    "task ls": (
        ("tekton task ls --state failed", "what was not done"),
        ("tekton task ls --state input_required -o template='{task_id} {question}'", "what waits for an answer"),
    ),
    "task show": (("tekton task show 08d591ba", "by the end of its id"),),
    "task watch": (
        ("tekton task watch 08d591ba", "until it is over, with its result"),
        ("tekton task watch", "all tasks, until Ctrl-C"),
    ),
    "task answer": (
        ("tekton task answer 08d591ba main", "a text, as nothing else was asked for"),
        ('tekton task answer 08d591ba \'{"branch": "main"}\'', "an object"),
    ),
    "task cancel": (("tekton task cancel 08d591ba --reason 'not needed any more'", "it and its parts"),),
    "task retry": (("tekton task retry 08d591ba", "steps that were completed are not done again"),),
    "task rm": (("tekton task rm 08d591ba", "once it is over"),),
    "task types": (("tekton task types ls", "what was declared"),),
    "task types ls": (("tekton task types ls -o json", "the same for a program"),),
    "task types set": (
        ("tekton task types set code_audit code_review", "whoever can review code is asked to audit it"),
        (
            'echo \'{"required": ["verdict"]}\' | tekton task types set code_audit code_review --result-schema -',
            "who answers without a verdict has not done it",
        ),
        ("tekton task types set code_audit code_review --attempt-timeout 90s", "who hangs is given up by then"),
    ),
    "task types rm": (("tekton task types rm code_audit", "as before"),),
    "conversation": (("tekton conversation ls", "those in which one takes part"),),
    "conversation ls": (("tekton conversation ls -o json", "the same for a program"),),
    "conversation begin": (
        ("tekton conversation begin reviewer --id release-7", "with an agent, under a name that one remembers"),
    ),
    "conversation show": (
        ("tekton conversation show release-7", "what was said last"),
        ("tekton conversation show release-7 -f", "and what is said from now on, until Ctrl-C"),
    ),
    "conversation say": (
        ("tekton conversation say release-7 'Can we go?'", "a text"),
        ("date | tekton conversation say release-7 -", "with what is on stdin"),
    ),
    "conversation summary": (("tekton conversation summary release-7 -n 3", "in three sentences"),),
    "conversation export": (("tekton conversation export release-7 > release-7.md", "as Markdown, in a file"),),
    "conversation rm": (("tekton conversation rm release-7", "with all that was said in it"),),
    "events": (
        ("tekton events --since 1h", "what happened within the last hour"),
        ("tekton events -f -o jsonl", "what is happening, for a program"),
    ),
    "backup": (
        ("tekton backup", "a file named after the time"),
        ("tekton backup /mnt/backups/monday.db", "a file of that name"),
    ),
    "restore": (("tekton restore /mnt/backups/monday.db", "says what will be lost, and asks"),),
    "audit": (
        ("tekton audit --since 1d", "what was changed within a day"),
        ("tekton audit --actor ci --action component.restart", "what ci restarted"),
    ),
    "audit verify": (
        ("tekton audit verify", "that of the data directory, in use or not"),
        ("tekton audit verify /mnt/backups/monday.db", "that in a backup"),
    ),
    "config": (("tekton config check", "all mistakes, with their places"),),
    "config check": (
        ("tekton config check", "the configuration that is found from here"),
        ("tekton config check -c deploy", "the one in the folder deploy"),
    ),
    "config show": (
        ("tekton config show --origin", "every value, and where it was set"),
        ("tekton config show -o json", "for a program"),
    ),
    "config schema": (
        ("tekton config schema components", "the JSON schema of components.json"),
        ("tekton config schema --write .schemas", "those of all five files"),
    ),
    "import": (
        ("tekton import docker-compose.yml", "the kind of file is known by its name"),
        ("tekton import Procfile -o components.json", "write the result to a file"),
        ("tekton import jobs.yml --from process-compose", "say which kind it is"),
    ),
    "generate": (
        ("tekton generate dockerfile -o .", "an image of the system"),
        ("tekton generate compose -o .", "a container for each component"),
    ),
    "generate dockerfile": (
        ("tekton generate dockerfile", "look at it"),
        ("tekton generate dockerfile --image registry.example/orders:1.4 -o . --force", "write it anew"),
    ),
    "generate compose": (("tekton generate compose -o . --force", "beside the Dockerfile that it builds"),),
    "generate k8s": (
        ("tekton generate k8s | head -50", "how the manifests begin"),
        ("tekton generate k8s --image registry.example/orders:1.4 -o kubernetes", "a folder for kubectl apply -k"),
    ),
    "generate systemd": (("tekton generate systemd --user orders > orders.service", "a unit for systemd"),),
    "auth": (
        ("tekton auth whoami", "as whom this command line acts"),
        ("tekton auth token --subject ci --role operator --expires-in 15m", "a token for somebody else"),
    ),
    "auth credential": (("tekton auth credential", "to be kept as carefully as a password"),),
    "auth token": (
        ('curl -H "Authorization: Bearer $(tekton auth token)" http://127.0.0.1:8010/api/system', "over TCP"),
        ("tekton auth token --subject grafana --role monitor --expires-in 8h", "for somebody who only looks"),
        ("tekton auth token --audience greeter --expires-in 10m", "for a component, to call it"),
    ),
    "auth key": (("tekton auth key list", "which keys there are"),),
    "auth key create": (
        ("tekton auth key create --subject ci --role operator --label deploys > ci.key", "a key in a file"),
        ("tekton auth key create --subject billing --role component", "for a component that runs elsewhere"),
    ),
    "auth key rotate": (("tekton auth key rotate Zk3vQ9pLm2Xa --overlap 1d", "both hold for a day"),),
    "auth key list": (
        ("tekton auth key list", "when each was used, and when it ends"),
        ("tekton auth key list --subject ci -o json", "for a program"),
    ),
    "auth key remove": (("tekton auth key remove Zk3vQ9pLm2Xa", "when it has leaked"),),
    "auth signing-key": (("tekton auth signing-key list", "which keys there are"),),
    "auth signing-key rotate": (
        ("tekton auth signing-key rotate", "no token becomes void"),
        ("tekton auth signing-key rotate --void", "somebody has read the keys"),
        ("tekton auth signing-key rotate --cards", "others who pinned the one before have 30 days"),
    ),
    "auth signing-key list": (("tekton auth signing-key list", "what each does, and until when"),),
    "auth revoke": (
        ("tekton auth revoke --id 5hJ0Yk3vQ9pLm2XaZk3vQw", "one token"),
        ("tekton auth revoke --subject ci", "all tokens that it has now"),
        ("tekton auth revoke --subject ci --bar", "and its keys, until it is restored"),
        ("tekton auth revoke --subject ci --role operator", "only this role, which a token or a key has given it"),
    ),
    "auth whoami": (("tekton auth whoami", "as whom this command line acts"),),
    "auth can-i": (
        ("tekton auth can-i components:control billing", "for one component"),
        ("tekton auth can-i read_metrics", "by the name of the action"),
    ),
    "doctor": (
        ("tekton doctor", "what is fine, and what is not"),
        ("tekton doctor -o json", "for a program"),
    ),
    "export": (
        ("tekton export", "a bundle named after the time"),
        ("tekton export report.tar.gz", "a bundle of that name"),
    ),
    "completion": (
        ('eval "$(tekton completion bash)"', "in ~/.bashrc"),
        ("tekton completion fish > ~/.config/fish/completions/tekton.fish", "once"),
    ),
    "explain": (
        ("tekton explain", "all codes"),
        ("tekton explain start_timeout", "one of them"),
    ),
    "version": (
        ("tekton version", "of this program and of the control plane"),
        ("tekton version -o json", "for a program"),
    ),
}
EXAMPLES["status"] = EXAMPLES["ps"]


def add_examples(command: click.Command, verb: str) -> None:
    """Let the help of *command*, which is *verb*, end with its examples; so with the verbs below it."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            add_examples(below, f"{verb} {name}")
    examples = EXAMPLES.get(verb)
    if examples is not None:
        lines = [f"  {example}\n      {purpose}" for example, purpose in examples]
        command.epilog = "\b\nExamples:\n" + "\n".join(lines)
