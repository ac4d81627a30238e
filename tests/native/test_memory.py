"""Without memory a call raises MemoryError and has changed nothing: it neither panics nor ends the process."""

import subprocess
import sys

import pytest

pytest.importorskip("_testcapi", reason="this Python has no _testcapi to make allocations fail")

# In a process of its own: what is tested for is that it does not abort.
PRELUDE = """
import _testcapi
from tekton._native import (
    ComponentTable, DependencyGraph, Envelope, Message, MessageContext, SubjectTable, TimerWheel, covers, resolve,
    waves,
)
from tekton.utils.tekton_errors import TektonError

INSTANCE = "00000000-0000-0000-0000-000000000001"
names = [f"component {number}" for number in range(1000)]
graph = {name: names[: min(place, 3)] for place, name in enumerate(names)}
cyclic = {"a": ["b"], "b": ["a"], "c": ["c"]}
resident = DependencyGraph(graph)
table = ComponentTable()
slots = [table.add(name, INSTANCE, 4) for name in names]
last = names[-1]
wheel = TimerWheel()
subjects = SubjectTable(cache_size=0)
for number in range(1000, 1100):
    subjects.add("a.>", number)
context = MessageContext("rhetor", "engram")
# Without memory orjson, which makes trees, ends the process: so there is none here.
message = Message("event", "text", context)
data = message.to_json()
text = data.decode()
read = lambda: Message.from_json(data)
packed = message.to_msgpack()
envelope = Envelope("a.b", message, "c.d", 2**40, 1.5, 2, "orders")
batch = Envelope.pack(7, [envelope] * 3)


def fails_with_memory_error(call, after, until):
    try:
        _testcapi.set_nomemory(after, until)
        try:
            call()
        finally:
            _testcapi.remove_mem_hooks()
    except (MemoryError, SystemError):  # the latter by Python 3.11 itself, without room to call an __init__
        return True
    except (TektonError, TypeError, ValueError):
        pass
    return False


def check(call, check_unchanged=lambda: None):
    "Let the first allocations fail, one by one and all that follow, until none is left to fail."
    assert not fails_with_memory_error(call, 10**6, 0)
    failed = 0
    for single in True, False:
        for after in range(60):
            if not fails_with_memory_error(call, after, after + 1 if single else 0):
                break
            failed += 1
            check_unchanged()
    assert failed
"""

CALLS = {
    "resolve": "check(lambda: resolve(graph))",
    "resolve a cyclic graph": "check(lambda: resolve(cyclic))",
    "resolve other sequences": "check(lambda: resolve({'a': iter('bc'), 'b': ()}))",
    "refuse a text as dependencies": "check(lambda: resolve({'a': 'b'}))",
    "waves": "check(lambda: waves(graph))",
    "resident graph": "check(resident.resolve); check(resident.waves); check(lambda: resident.dependents(names[0]))",
    "critical path": "durations = dict.fromkeys(names, 1.0); check(lambda: resident.critical_path(durations))",
    "table reads": "check(lambda: table.identity(999)); check(lambda: table.slots(last)); "
    "check(lambda: table.find(last, INSTANCE))",
    "match": "check(lambda: subjects.match('a.b')); assert len(subjects.match('a.b')) == 100",
    "refuse a subject": "check(lambda: subjects.match('a..b')); check(lambda: covers('é.a', 'b*'))",
    "build a message": "check(lambda: Message('event', 'text', context)); check(lambda: MessageContext('a'))",
    "write a message": "check(lambda: Message('event', 'text', context).to_json()); "
    "check(lambda: repr(message)); check(lambda: message.follow('b'))",
    "write small objects": "members = {'a': 1, 'b': 'c', 'd': None}; "
    "check(lambda: Message('event', members, context, members).to_json())",
    "read a message": "check(read); check(lambda: read().content); check(lambda: read().context); "
    "check(lambda: read().route)",
    # Routes that were seen before are remembered.
    "peek at a message": "others = [Message('event', 'text', MessageContext(f'a{n}')).to_json() for n in range(200)]; "
    "check(lambda: Message.peek(others.pop())); check(lambda: Message.from_json(text).to_json())",
    "translate a message": "check(message.to_msgpack); check(lambda: Message.from_msgpack(packed))",
    "make an envelope": "check(lambda: Envelope('a.b', message)); check(lambda: envelope.placed(2**40, 1)); "
    "check(lambda: repr(envelope)); check(lambda: hash(envelope)); check(lambda: envelope.frame(7))",
    "pack envelopes": "check(lambda: Envelope.pack(7, [envelope] * 3)); "
    "check(lambda: Envelope.pack(7, iter([envelope])))",
    "unpack envelopes": "check(lambda: Envelope.unpack(batch)); check(lambda: Envelope.subjects(batch))",
    "refuse envelopes": "check(lambda: Envelope.unpack(batch[:-1])); "
    "check(lambda: Envelope.unpack(batch, max_message=9)); "
    "check(lambda: Envelope('a b', message).frame(1)); check(lambda: Envelope.pack(1, [7]))",
    "refuse a message": "check(lambda: Message.from_json(b'{'))",
    "refuse what a message has": "check(lambda: Message.from_json(b'{\"colour\":1}'))",
    "refuse a transition": "check(lambda: table.transition(last, INSTANCE, 0))",
    "refuse a stranger": "check(lambda: table.transition('stranger', INSTANCE, 0))",
    "refuse a second instance": "check(lambda: table.add(last, INSTANCE[:-1] + '2', 4))",
}


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", CALLS.values(), ids=CALLS.keys())
def test_a_failed_allocation_is_a_memory_error(program: str) -> None:
    run(program)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to RLIMIT_AS")
@pytest.mark.parametrize("content", ["escapes", "{'a': escapes}", "{escapes: 1}"])
def test_escapes_that_find_no_memory_are_a_memory_error(content: str) -> None:
    run(
        f"""
import resource

escapes = chr(1) * 2**26
large = Message("event", {content}, context)
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, size + 2**28))
assert fails_with_memory_error(large.to_json, 10**6, 0)
"""
    )


def test_a_transition_whose_answer_finds_no_memory_did_not_happen() -> None:
    run(
        """
def move():
    table.transition(last, INSTANCE, 5)
    table.set_state(999, 4)

def check_unchanged():
    assert table.state(999) == 4

check(move, check_unchanged)
"""
    )


def test_an_instance_whose_slot_finds_no_memory_is_not_added() -> None:
    run(
        """
def add():
    table.remove(table.add("new", INSTANCE, 4))

def check_unchanged():
    assert len(table) == 1000 and table.find("new", INSTANCE) == -1

check(add, check_unchanged)
"""
    )


def test_leases_and_timers_that_could_not_be_told_are_due_again() -> None:
    run(
        """
for slot in slots:
    table.arm(slot, 0, 1)
assert fails_with_memory_error(lambda: table.expire(1), 0, 0)
assert table.expire(1) == slots

for name in names:
    wheel.schedule(1, name)
assert fails_with_memory_error(lambda: wheel.advance(1), 0, 0)
assert wheel.advance(1) == names
"""
    )
