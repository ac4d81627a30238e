"""The conversations of tasks: who takes part, and the history of a task among much else."""

import pytest
from a2a_site import Site

from tekton.core.lifecycle import ComponentRegistration
from tekton.service.edge.a2a import contexts


async def spoken(site: Site, text: str, **members: object) -> dict[str, object]:
    """The task after a message."""
    return (await site.ask("SendMessage", site.message(text, **members)))["task"]  # type: ignore[no-any-return]


async def serve_component(site: Site) -> None:
    """Have a component that is ready."""
    component = ComponentRegistration(component_id="service")
    await site.plane.registry.register(component)
    await site.plane.registry.make_ready("service", component.instance_uuid)


def texts(task: dict[str, object]) -> list[str]:
    """What was said of it."""
    return [one["parts"][0]["text"] for one in task["history"]]  # type: ignore[attr-defined]


async def test_the_component_of_an_agent_reads_what_is_said_whatever_the_agent_is_called(site: Site) -> None:
    site.tokens = {**site.tokens, "service": await site.plane.token("service", "component")}
    await serve_component(site)

    async def greet(text: str) -> str:
        status, answer = await site.send("GET", "/api/conversations/talk/messages", "service")
        return f"{text} {status} {[one['content'] for one in answer['items']]}"

    register = site.plane.agents.registry.register_agent
    register("greeter", ["greeting"], handler=greet, component_id="service")
    register("other", ["other"], handler=greet, component_id="service")

    begun = await spoken(site, "hi", metadata={"skill": "greeting"}, contextId="talk")
    _, talk = await site.send("GET", "/api/conversations/talk")

    assert begun["artifacts"][0]["parts"][0]["text"] == "hi 200 ['hi']"  # type: ignore[index]
    assert talk["participants"] == ["ada", "service"]
    _, said = await site.send("GET", "/api/conversations/talk/messages", "service")
    assert [one["sender"] for one in said["items"]] == ["ada", "service"]

    await spoken(site, "ho", metadata={"skill": "echo"}, contextId="talk-2")
    again = await spoken(site, "ho", metadata={"skill": "other"}, contextId="talk-2")
    assert again["artifacts"][0]["parts"][0]["text"].startswith("ho 200 ['hi',")  # type: ignore[index]
    assert (await site.send("GET", "/api/conversations/talk-2", "service"))[1]["participants"][-1] == "service"


async def test_what_was_said_before_a_start_is_said_by_nobody_else_after_it(site: Site) -> None:
    await serve_component(site)
    registry = site.plane.agents.registry
    registry.register_agent("ask-agent", ["ask"], handler=site.agents.ask, component_id="service", replace=True)
    await spoken(site, "hi", metadata={"skill": "ask"}, contextId="talk")
    registry.unregister_agent("ask-agent")

    site.plane.a2a.start()

    _, talk = await site.send("GET", "/api/conversations/talk")
    assert (talk["participants"], talk["messages"]) == (["ada", "service"], 2)


async def test_the_history_of_a_task_has_its_newest_messages_however_much_others_say(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "MOST_HISTORY", 4)
    asked = await spoken(site, "first", metadata={"skill": "ask"}, contextId="busy")
    for number in range(6):
        await spoken(site, f"other {number}", metadata={"skill": "echo"}, contextId="busy")

    done = await spoken(site, "Ada", taskId=asked["id"])
    last = await site.ask("GetTask", {"id": asked["id"], "historyLength": 1})
    other = await spoken(site, "other 7", metadata={"skill": "ask"}, contextId="busy")

    assert texts(done) == ["first", "What is your name?", "Ada"]
    assert texts(last) == ["Ada"]
    assert texts(other) == ["other 7", "What is your name?"]


async def test_of_a_long_history_the_newest_messages_are_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MOST_HISTORY", 2)
    asked = await spoken(site, "first", metadata={"skill": "ask"})

    done = await spoken(site, "Ada", taskId=asked["id"])

    assert texts(done) == ["What is your name?", "Ada"]
