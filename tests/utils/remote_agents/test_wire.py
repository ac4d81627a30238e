"""From the JSON of Agent2Agent to what is used of it, and back."""

from typing import Any

import pytest

from tekton.a2a.task import TaskState
from tekton.utils.remote_agents.wire import (
    Artifacts,
    GarbledError,
    Update,
    message_to,
    parts_of_answer,
    parts_of_task,
    read_update,
)


def artifact(key: str, *parts: dict[str, Any], name: str = "") -> dict[str, Any]:
    return {"artifactId": key, "parts": list(parts)} | ({"name": name} if name else {})


def said(*parts: dict[str, Any], **members: Any) -> Update:
    return read_update({"statusUpdate": {"taskId": "t", "status": {"message": {"parts": list(parts)}}, **members}})


def test_a_task_is_sent_as_data_and_its_text_before_that() -> None:
    data = {"task_type": "review", "inputs": {"text": "Look!", "n": 1}}

    assert parts_of_task("review", data["inputs"]) == [
        {"text": "Look!"},
        {"data": data, "mediaType": "application/json"},
    ]
    assert len(parts_of_task("review", {"text": 1})) == 1


def test_an_answer_is_a_text_or_data() -> None:
    assert parts_of_answer("yes") == [{"text": "yes"}]
    assert parts_of_answer({"ok": True}) == [{"data": {"ok": True}, "mediaType": "application/json"}]


def test_a_message_names_the_task_and_the_context_that_there_are() -> None:
    assert message_to("m", []) == {"messageId": "m", "role": "ROLE_USER", "parts": []}
    assert message_to("m", [], task_id="t", context_id="c").items() >= {"taskId": "t", "contextId": "c"}.items()


@pytest.mark.parametrize("state", list(TaskState))
def test_every_state_is_understood(state: TaskState) -> None:
    whole = read_update({"task": {"id": "t", "contextId": "c", "status": {"state": state.wire}}})
    update = read_update({"statusUpdate": {"taskId": "t", "contextId": "c", "status": {"state": state.wire}}})

    assert (whole.task_id, whole.context_id, whole.state) == ("t", "c", state)
    assert update == whole


@pytest.mark.parametrize("response", [{}, {"task": {}}, {"statusUpdate": {}}, {"task": {"status": {"state": "x"}}}])
def test_what_says_nothing_of_use_is_nothing(response: dict[str, Any]) -> None:
    update = read_update(response)

    assert (update.task_id, update.state, update.answer, update.artifacts) == ("", None, None, ())


def test_a_message_is_the_whole_answer() -> None:
    assert read_update({"message": {"parts": [{"text": "fine"}]}}).answer == ("fine",)
    assert read_update({"message": {}}).answer == (None,)


def test_what_is_said_to_people_is_the_text_of_the_status() -> None:
    assert said({"text": "a"}, {"data": 1}, {"text": "b"}).text == "a b"
    assert len(said({"text": "x" * 9000}).text) == 2000
    assert Update().text == ""


def test_ours_say_how_far_they_are_and_what_answer_they_want() -> None:
    assert said(metadata={"progress": {"done": 1.0, "total": 4.0}}).progress == (1.0, 4.0)
    assert said(metadata={"progress": {"done": 1.0}}).progress == (1.0, None)
    assert said(metadata={"progress": {"done": "x"}}).progress is None
    assert said({"text": "?"}, {"data": {"schema": {"minLength": 1.0}}}).schema == {"minLength": 1}
    assert said({"data": {"schema": "x"}}).schema is None


def test_numbers_that_are_whole_are_integers_again() -> None:
    update = read_update({"message": {"parts": [{"data": {"a": [1.0, 2.5, 1e300, True, None, "1.0"]}}]}})

    assert repr(update.answer) == "({'a': [1, 2.5, 1e+300, True, None, '1.0']},)"


def test_several_parts_are_a_list_and_files_are_described() -> None:
    parts = [{"text": "a", "mediaType": "text/x-python"}, {"raw": "AA==", "mediaType": "image/png", "metadata": {}}]

    assert read_update({"message": {"parts": parts}}).answer == (["a", {"raw": "AA==", "mediaType": "image/png"}],)


# Artifacts


def test_the_only_artifact_is_the_result() -> None:
    artifacts = Artifacts()
    assert artifacts.result() == ()
    artifacts.take(artifact("1", {"data": {"n": 1.0}}), False, True)

    assert artifacts.result() == ({"n": 1},)


def test_of_several_the_one_that_is_called_so_is_the_result_and_else_all_of_them() -> None:
    artifacts = Artifacts()
    artifacts.take(artifact("1", {"text": "a"}, name="note"), False, True)
    artifacts.take(artifact("2", {"text": "b"}, name="other"), False, True)
    assert artifacts.result() == ({"note": "a", "other": "b"},)

    artifacts.take(artifact("3", {"text": "c"}, name="result"), False, True)
    assert artifacts.result() == ("c",)

    artifacts.take(artifact("4", {"text": "d"}, name="result.final"), False, True)
    assert artifacts.result() == ("d",)


def test_text_that_is_appended_to_text_goes_on_with_it() -> None:
    artifacts = Artifacts()
    artifacts.take(artifact("1", {"text": "Hel"}), False, False)
    artifacts.take(artifact("1", {"text": "lo"}), True, False)
    artifacts.take(artifact("1", {"data": 1.0}), True, True)

    assert artifacts.result() == (["Hello", 1],)


def test_one_that_comes_again_takes_the_place_of_the_former() -> None:
    artifacts = Artifacts()
    artifacts.take(artifact("1", {"text": "a"}), False, True)
    artifacts.take(artifact("1", {"text": "b"}), False, True)

    assert artifacts.result() == ("b",)


def test_an_artifact_is_whole_with_its_last_chunk_or_when_something_else_comes() -> None:
    artifacts = Artifacts()
    artifacts.take(artifact("1", {"text": "a"}, name="one"), False, False)
    assert artifacts.whole() == {}

    artifacts.take(artifact("2", {"text": "b"}, name="two"), False, True)
    assert artifacts.whole() == {"one": "a", "two": "b"}

    artifacts.take(artifact("3", {"text": "c"}, name="three"), False, False)
    artifacts.settle()
    assert artifacts.whole() == {"three": "c"}
    assert artifacts.whole() == {}


def test_the_result_is_no_artifact() -> None:
    artifacts = Artifacts()
    artifacts.take(artifact("1", {"text": "a"}, name="result"), False, True)

    assert artifacts.whole() == {}


def test_there_is_an_end_to_how_much_is_kept() -> None:
    many, large = Artifacts(), Artifacts()
    for number in range(256):
        many.take(artifact(str(number), {"text": "a"}), False, True)
    for _ in range(16):
        large.take(artifact("1", {"text": "x" * 500_000}), True, False)

    with pytest.raises(GarbledError):
        many.take(artifact("256", {"text": "a"}), False, True)
    with pytest.raises(GarbledError):
        large.take(artifact("1", {"text": "x" * 500_000}), True, False)


def test_an_artifact_is_given_out_once_and_again_when_it_is_another() -> None:
    artifacts = Artifacts()
    seen = []
    for text in ("a", "a", "b"):
        artifacts.take(artifact("1", {"text": text}), False, True)
        seen.append(artifacts.whole())

    assert seen == [{"1": "a"}, {}, {"1": "b"}]


def test_an_artifact_that_changes_without_end_is_garbled() -> None:
    artifacts = Artifacts()
    for number in range(33):
        artifacts.take(artifact("1", {"text": f"{number}" + "x" * 1_000_000}), False, True)
        artifacts.whole()

    artifacts.take(artifact("1", {"text": "y" * 1_000_000}), False, True)
    with pytest.raises(GarbledError, match="without end"):
        artifacts.whole()


def test_what_is_nested_too_deep_is_garbled() -> None:
    deep: Any = 1.0
    for _ in range(80):
        deep = [deep]

    with pytest.raises(GarbledError):
        Artifacts().take(artifact("1", {"data": deep}), False, True)
