"""Agent cards: what is in them, for whom, and how they are kept by those who have them."""

from a2a.types import a2a_pb2 as pb
from a2a_site import Site
from google.protobuf.json_format import ParseDict

from tekton.a2a.agent import Agent, AgentHealth, Skill
from tekton.a2a.agent_registry import AgentRegistry
from tekton.service.edge.a2a.cards import MOST_SKILLS, Cards, is_known

ROOT = "/.well-known/agent-card.json"
REVIEWER = Agent(
    "reviewer",
    ("code_review",),
    {"description": "Reviews code", "input_modes": ["image/*"], "model": "x"},
    version="1.2.3",
    skills=(Skill("style.check", "Style", "Looks at style", ("lint",)),),
    tags=("code",),
)


def cards(*agents: Agent) -> Cards:
    registry = AgentRegistry()
    for agent in agents:
        registry.add(agent)
    return Cards(registry)


def test_the_card_of_an_agent_has_a_skill_for_each_thing_it_can_do() -> None:
    card = ParseDict(cards(REVIEWER).of_agent(REVIEWER, "https://h:1"), pb.AgentCard())

    assert (card.name, card.description, card.version) == ("reviewer", "Reviews code", "1.2.3")
    assert [(one.id, one.name, one.description, list(one.tags)) for one in card.skills] == [
        ("code_review", "Code review", "Reviews code", ["code"]),
        ("style.check", "Style", "Looks at style", ["lint", "code"]),
    ]
    assert list(card.default_input_modes) == ["text/plain", "application/json", "image/*"]
    assert [one.url for one in card.supported_interfaces] == [
        "https://h:1/a2a/agents/reviewer",
        "https://h:1/a2a/agents/reviewer/rest",
    ]


def test_only_the_extended_card_says_what_the_metadata_are() -> None:
    made = cards(REVIEWER)

    assert not made.of_agent(REVIEWER, "http://h")["capabilities"].get("extensions")
    (details,) = made.of_agent(REVIEWER, "http://h", extended=True)["capabilities"]["extensions"]
    assert details["params"]["metadata"]["model"] == "x"
    assert details["params"]["health"] == "usable"


def test_the_card_of_the_system_has_the_skills_of_all_agents_whether_or_not_they_are_usable_now() -> None:
    registry = AgentRegistry()
    for agent in (REVIEWER, Agent("other", ("code_review", "style"), tags=("b",)), Agent("down", ("last",))):
        registry.add(agent)
    made = Cards(registry)
    before = made.of_system("http://h")
    etag = made.root("http://h").etag
    for agent_id in ("down", "other"):
        registry.mark(agent_id, AgentHealth.UNUSABLE)

    after = made.of_system("http://h")

    assert [skill["id"] for skill in before["skills"]] == ["code_review", "last", "style", "style.check"]
    assert after == before
    assert before["skills"][0]["tags"] == ["b", "code"]
    assert made.root("http://h").etag == etag
    assert list(made.skill_ids()) == ["code_review", "last", "style", "style.check"]
    registry.unregister_agent("down")
    assert list(made.skill_ids()) == ["code_review", "style", "style.check"]


async def test_who_asks_for_a_skill_of_which_all_agents_are_down_is_told_so(site: Site) -> None:
    site.plane.agents.registry.mark("echo-agent", AgentHealth.UNUSABLE, "it is restarted")

    answer = await site.rpc("SendMessage", site.message("hi", metadata={"skill": "echo"}))
    refused = await site.rpc(
        "SendMessage", site.message({"raw": "", "mediaType": "image/png"}, metadata={"skill": "echo"})
    )

    assert answer["error"]["data"][0]["reason"] == "NO_AGENT_AVAILABLE"
    assert refused["error"]["data"][0]["reason"] == "CONTENT_TYPE_NOT_SUPPORTED"


def test_a_card_is_never_without_a_skill_and_never_has_too_many() -> None:
    assert [skill["id"] for skill in cards().of_system("http://h")["skills"]] == ["tasks"]
    assert len(cards(Agent("one", ())).of_agent(Agent("one", ()), "http://h")["skills"]) == 1
    many = [Agent(f"a{number}", tuple(f"s{number}-{one}" for one in range(250))) for number in range(5)]
    assert len(cards(*many).of_system("http://h")["skills"]) == MOST_SKILLS


def test_what_has_to_be_shown_is_what_the_port_asks_for() -> None:
    plain = ParseDict(Cards(AgentRegistry()).of_system("http://h"), pb.AgentCard())
    mutual = ParseDict(Cards(AgentRegistry(), mutual_tls=True).of_system("http://h"), pb.AgentCard())

    assert plain.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"
    assert set(plain.security_requirements[0].schemes) == {"bearer"}
    assert set(mutual.security_requirements[0].schemes) == {"bearer", "mtls"}
    assert mutual.security_schemes["mtls"].WhichOneof("scheme") == "mtls_security_scheme"


def test_a_tag_is_that_of_the_content() -> None:
    registry = AgentRegistry()
    made = Cards(registry)
    first = made.root("http://h")
    again, other, hidden = made.root("http://h"), made.root("http://i"), made.root("http://h", hidden=True)
    registry.add(REVIEWER)
    changed = made.root("http://h")

    assert again is first
    assert len({first.etag, other.etag, changed.etag}) == 3
    assert hidden.etag == first.etag != made.root("http://h").etag
    assert is_known(first.etag, first.etag)
    assert is_known(f'"x", W/{first.etag}', first.etag)
    assert is_known("*", first.etag)
    assert not is_known(None, first.etag)
    assert not is_known('"x"', first.etag)


def test_only_so_many_cards_are_kept() -> None:
    made = Cards(AgentRegistry())

    for number in range(100):
        made.root(f"http://localhost:{number}")

    assert len(made._sent) <= 16


async def test_who_has_the_card_is_not_sent_it_again(site: Site) -> None:
    async with site.session.get(f"{site.url}{ROOT}") as first:
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "public, max-age=60"
        assert first.headers["vary"] == "authorization"
    async with site.session.get(f"{site.url}{ROOT}", headers={"if-none-match": etag}) as second:
        assert (second.status, await second.read(), second.headers["etag"]) == (304, b"", etag)
    site.plane.agents.registry.register_agent("new", ["something"])
    async with site.session.get(f"{site.url}{ROOT}", headers={"if-none-match": etag}) as third:
        assert third.status == 200


async def test_the_root_card_is_open_to_everybody_and_says_of_agents_what_the_caller_may_see(site: Site) -> None:
    site.plane.security.policy.anonymous = "nobody"

    hidden = await site.send("GET", ROOT, None)
    wrong = await site.send("GET", ROOT, None, authorization="Bearer nonsense")
    _, shown = await site.send("GET", ROOT, "wanda")

    assert hidden == wrong
    assert [skill["id"] for skill in hidden[1]["skills"]] == ["tasks"]
    assert len(shown["skills"]) == 5
    assert ParseDict(hidden[1], pb.AgentCard()).supported_interfaces[0].url == f"{site.url}/a2a"


async def test_the_card_of_an_agent_is_for_those_who_may_see_agents(site: Site) -> None:
    path = f"/a2a/agents/echo-agent{ROOT}"
    site.plane.security.policy.anonymous = "nobody"

    assert (await site.send("GET", path, "wanda"))[0] == 200
    status, answer = await site.send("GET", path, None)
    assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")
    status, answer = await site.send("GET", f"/a2a/agents/nobody{ROOT}", "wanda")
    assert (status, answer["error"]["status"]) == (404, "NOT_FOUND")


async def test_the_extended_card_is_for_those_who_show_who_they_are(site: Site) -> None:
    for path in ("/a2a/rest/extendedAgentCard", "/a2a/agents/echo-agent/rest/extendedAgentCard"):
        assert (await site.send("GET", path, "wanda"))[0] == 200
        status, answer = await site.send("GET", path, None)
        assert (status, answer["error"]["details"][0]["reason"]) == (401, "UNAUTHENTICATED")
