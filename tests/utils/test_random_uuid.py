import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tekton.utils.random_uuid import random_uuid


def test_it_is_a_random_uuid_in_its_canonical_form() -> None:
    made = [random_uuid() for _ in range(1000)]

    read = [uuid.UUID(text) for text in made]
    assert [str(each) for each in read] == made
    assert {(each.version, each.variant) for each in read} == {(4, uuid.RFC_4122)}


def test_every_bit_but_those_of_the_version_and_the_variant_is_random() -> None:
    ones = zeros = 0
    for _ in range(1000):
        value = uuid.UUID(random_uuid()).int
        ones |= value
        zeros |= ~value

    fixed = (1 << 128) - 1 & ~(ones & zeros)
    assert fixed == 0xF000_C000_0000_0000_0000


def test_no_two_are_equal_whatever_thread_they_are_made_in() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [
            text for texts in threads.map(lambda _: [random_uuid() for _ in range(1000)], range(8)) for text in texts
        ]

    assert len(set(made)) == len(made)


FORK = """
import os
from tekton.utils.random_uuid import random_uuid

random_uuid()
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, random_uuid().encode())
    os._exit(0)
os.wait()
print(os.read(reading, 36).decode() in {random_uuid() for _ in range(1000)})
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_others_than_its_parent() -> None:
    found = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=30, check=True)

    assert found.stdout == "False\n"
