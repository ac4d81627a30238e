"""What is said of an agent that has turned us away."""

import json
from typing import Any

import pytest
from calling_agents import calling
from wire_agent import Reply, wire_agent

from tekton.a2a.agent import Agent
from tekton.utils.remote_agents import Credential
from tekton.utils.remote_agents.card import AgentCard, read_card
from tekton.utils.remote_agents.entry import how_to_get_in
from tekton.utils.tekton_errors import TaskFailedError

HOME = "https://agents.example/reviewer"
REVIEWER = Agent("reviewer", ("code_review",), endpoint=HOME)
REGISTER = f"tekton agent register reviewer {HOME} --credential FILE"
BEARER = {"httpAuthSecurityScheme": {"scheme": "Bearer"}}
KEY = {"apiKeySecurityScheme": {"location": "header", "name": "X-API-Key"}}


def card(*schemes: Any) -> AgentCard:
    interface = {"url": f"{HOME}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    body = {"name": "Reviewer", "version": "1.0.0", "supportedInterfaces": [interface]}
    named = {f"scheme{number}": scheme for number, scheme in enumerate(schemes)}
    return read_card(json.dumps({**body, "securitySchemes": named}).encode())


@pytest.mark.parametrize(
    ("schemes", "said"),
    [
        ((), f"it needs a credential: {REGISTER}"),
        ((BEARER,), f"it needs a credential (its card asks for a token): {REGISTER}"),
        ((KEY,), f"it needs a credential (its card asks for a key): {REGISTER} --header X-API-Key"),
        ((KEY, BEARER, BEARER), f"it needs a credential (its card asks for a key or a token): {REGISTER}"),
        ((7, {"unknownScheme": {}}, {"apiKeySecurityScheme": []}), f"it needs a credential: {REGISTER}"),
    ],
)
def test_the_card_says_what_kind_of_credential_it_needs(schemes: tuple[Any, ...], said: str) -> None:
    assert how_to_get_in(REVIEWER, card(*schemes), None, "https://agents.example") == said


@pytest.mark.parametrize("name", ["X-Key; rm", "", 7, None])
def test_what_is_no_header_is_not_repeated(name: Any) -> None:
    scheme = {"apiKeySecurityScheme": {"location": "header", "name": name}}
    assert how_to_get_in(REVIEWER, card(scheme), None, HOME).endswith("--credential FILE")


def test_one_that_was_given_is_said_to_be_refused() -> None:
    said = how_to_get_in(REVIEWER, card(BEARER), Credential("s3cret"), "https://agents.example")
    assert said == f"the credential for it is not accepted (its card asks for a token): {REGISTER}"


def test_one_that_was_not_sent_is_not_said_to_be_refused() -> None:
    said = how_to_get_in(REVIEWER, card(BEARER), Credential("s3cret"), "https://elsewhere.example")
    assert said == "the credential for it is not for that host: `hosts` of the credential names others that get it"


async def test_a_task_that_an_agent_has_not_let_in_says_how_to_get_in() -> None:
    async def no_entry(reply: Reply) -> None:
        await reply.raw(b"", "text/html", 401)

    async with wire_agent({"SendMessage": no_entry}, streaming=False) as agent, calling(agent.url) as here:
        with pytest.raises(TaskFailedError) as caught:
            await here.tasks.execute_task(here.tasks.create_task("code_review", {"text": "Look!"}))

    assert "it does not let us in: answered 401; it needs a credential" in str(caught.value)
    assert str(caught.value).endswith(f"tekton agent register reviewer {agent.url} --credential FILE")
