"""What may be published and heard: rule by rule, and against a model that knows the rules as people say them."""

import os
import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton._native import covers
from tekton.auth.principal import ANONYMOUS, NOBODY, OWNER, Principal
from tekton.auth.roles import Role, RoleTable
from tekton.auth.subjects import FEEDS, Hearing, SubjectRights, owner_token
from tekton.bus import bus
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import InvalidSubjectError

EXAMPLES = int(os.environ.get("TEKTON_EXAMPLES", "60"))
CUSTOM = {
    "cashier": Role(frozenset(), publish=("payments.>", "orders.*.paid"), subscribe=("orders.>", "engram.requests.>")),
    "listener": Role(frozenset(), subscribe=(">",)),
    "undertaker": Role(frozenset(), subscribe=("tekton.dead.orders",)),
    "web-crew": Role(frozenset({"logs:read", "messages:read"}), ("web-*",)),
    "teller": Role(frozenset({"messages:publish"})),
}


def principal(*roles: str, subject: str = "engram", component_id: str | None = "engram") -> Principal:
    grants = RoleTable(CUSTOM).grants(roles, component_id)
    return Principal(subject=subject, roles=roles, component_id=component_id, via="token", grants=grants)


def rights(*roles: str, subject: str = "engram", component_id: str | None = "engram") -> SubjectRights:
    return SubjectRights(principal(*roles, subject=subject, component_id=component_id))


ENGRAM = rights("component")
OTTO = rights("operator", subject="otto@example", component_id=None)


def test_the_tokens_that_mean_something_are_those_of_the_bus() -> None:
    from tekton.auth import roles

    assert (roles.INBOX, roles.RESERVED, roles.REQUESTS) == (bus.INBOX, bus.RESERVED, bus.REQUESTS)


@pytest.mark.parametrize("subject", ["engram", "engram.updated", "engram.requests.search", "rhetor.requests.ask.now"])
def test_a_component_publishes_its_own_subjects_and_requests_to_others(subject: str) -> None:
    assert ENGRAM.may_publish(subject)


@pytest.mark.parametrize(
    "subject", ["rhetor", "rhetor.updated", "engrams", "rhetor.requests", "requests.engram", "x.rhetor.requests.a"]
)
def test_a_component_publishes_nothing_of_others(subject: str) -> None:
    assert not ENGRAM.may_publish(subject)


@pytest.mark.parametrize("who", [ENGRAM, OTTO, SubjectRights(OWNER), rights("teller")], ids=lambda who: who.sender)
def test_nobody_publishes_as_the_control_plane(who: SubjectRights) -> None:
    for subject in ("tekton", "tekton.components.web", "tekton.requests.stop", "tekton.dead.orders"):
        assert not who.may_publish(subject)


@pytest.mark.parametrize("who", [ENGRAM, OTTO, rights("cashier")], ids=["component", "operator", "cashier"])
def test_whoever_publishes_may_answer_whoever_has_asked_him(who: SubjectRights) -> None:
    assert who.may_publish("_inbox.rhetor.k2j4h3kj4h")
    assert who.may_publish("_inbox.rhetor.k2j4h3kj4h.7")
    assert not who.may_publish("_inbox")
    assert not who.may_publish("_inbox.rhetor")


@pytest.mark.parametrize("who", [ENGRAM, OTTO, SubjectRights(OWNER), rights("cashier", component_id=None)])
def test_answers_are_sent_to_an_inbox_of_ones_own_and_to_no_other(who: SubjectRights) -> None:
    """An answer to somebody else's inbox was lost, and whoever waited for it was told of nothing."""
    assert who.may_name(f"{who.inbox}.k2j4h3kj4h.7")
    assert who.may_name(f"{who.inbox}.a")
    for reply in (who.inbox, f"{who.inbox}s.a", "_inbox.rhetor.a", "_inbox.=rhetor.a", "_inbox.tekton.a", "_inbox"):
        assert not who.may_name(reply), reply


def test_answers_are_sent_to_what_one_may_publish_to() -> None:
    assert [ENGRAM.may_name(one) for one in ("engram.answers", "rhetor.requests.a", "rhetor.a", "tekton.a")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(InvalidSubjectError):
        ENGRAM.may_name("_inbox.engram..a")


def test_who_hears_nothing_and_who_is_called_like_the_control_plane_have_no_inbox() -> None:
    for who in (rights("teller"), rights("component", subject="tekton", component_id="tekton"), SubjectRights(NOBODY)):
        assert not who.hears_answers
        assert not who.may_name(f"{who.inbox}.a")


def test_an_operator_publishes_everything_else() -> None:
    assert all(OTTO.may_publish(subject) for subject in ("orders", "orders.new", "engram.requests.search"))


@pytest.mark.parametrize(
    "nobody",
    [SubjectRights(ANONYMOUS), SubjectRights(NOBODY), rights("monitor"), rights("listener")],
    ids=["anonymous", "nobody", "monitor", "listener"],
)
def test_without_the_permission_nothing_is_published(nobody: SubjectRights) -> None:
    assert not any(nobody.may_publish(subject) for subject in ("engram", "a.requests.b", "_inbox.a.b", "tekton.a"))


def test_a_component_without_an_id_has_no_subjects_of_its_own() -> None:
    nameless = rights("component", subject="a user", component_id=None)

    assert not nameless.may_publish("engram.updated")
    assert not nameless.may_publish("rhetor.requests.ask")


def test_a_role_names_subjects_besides() -> None:
    cashier, both = rights("cashier"), rights("cashier", "component")

    assert [cashier.may_publish(one) for one in ("payments.new", "orders.7.paid", "orders.7", "engram.a")] == [
        True,
        True,
        False,
        False,
    ]
    assert both.may_publish("engram.a")
    assert both.may_publish("payments.new")


def test_a_role_that_names_subjects_has_the_permission_of_the_route() -> None:
    granted = principal("cashier").grants

    assert granted.allows("messages:publish")
    assert granted.allows("messages:read")
    assert not principal("undertaker").grants.allows("messages:publish")


def test_a_replica_is_its_component() -> None:
    replica = rights("component", subject="engram.2", component_id="engram.2")

    assert replica.may_publish("engram.updated")
    assert replica.may_subscribe("engram.requests.>") is Hearing.ALL
    assert (replica.sender, replica.inbox) == (ENGRAM.sender, ENGRAM.inbox)


@pytest.mark.parametrize(
    "subject", ["orders.new", "rhetor", "engram.requests.search", "rhetor.requests", "a.b.requests.c"]
)
def test_a_component_hears_what_is_said_in_public_and_to_itself(subject: str) -> None:
    assert ENGRAM.hears(subject)
    assert ENGRAM.may_subscribe(subject) is Hearing.ALL


@pytest.mark.parametrize(
    "subject", ["rhetor.requests.ask", "_inbox.rhetor.abc.1", "_inbox", "tekton", "tekton.other", "tekton.logs.web"]
)
def test_what_is_private_to_others_is_not_heard(subject: str) -> None:
    assert not ENGRAM.hears(subject)
    assert ENGRAM.may_subscribe(subject) is Hearing.NONE


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        (">", Hearing.ALL),
        ("*", Hearing.ALL),
        ("*.*", Hearing.ALL),
        ("orders.new.*", Hearing.ALL),
        ("orders.>", Hearing.ALL),
        ("*.*.search", Hearing.ALL),
        ("engram.>", Hearing.ALL),
        ("*.requests.>", Hearing.SOME),
        ("rhetor.requests.>", Hearing.NONE),
        ("rhetor.requests.*", Hearing.NONE),
        ("_inbox.engram.>", Hearing.ALL),
        ("_inbox.engram.x9.*", Hearing.ALL),
        ("_inbox.rhetor.>", Hearing.NONE),
        ("_inbox.*.x9", Hearing.SOME),
        ("tekton.components.*", Hearing.ALL),
        ("tekton.logs.>", Hearing.NONE),
        ("tekton.dead.>", Hearing.NONE),
        ("tekton.>", Hearing.SOME),
        ("tekton.*", Hearing.SOME),
    ],
)
def test_a_pattern_leaves_out_what_is_private(pattern: str, heard: Hearing) -> None:
    assert ENGRAM.may_subscribe(pattern) is heard


@pytest.mark.parametrize(("feed", "permission"), FEEDS.items())
def test_a_feed_is_heard_with_its_permission(feed: str, permission: str) -> None:
    table = RoleTable({"one": Role(frozenset({permission}))})
    one = SubjectRights(Principal(subject="o", roles=("one",), via="token", grants=table.grants(["one"])))

    assert one.may_subscribe(feed) is Hearing.ALL
    assert all(one.may_subscribe(other) is Hearing.NONE for other, needed in FEEDS.items() if needed != permission)


def test_logs_are_heard_of_the_components_that_the_role_is_for() -> None:
    crew = rights("web-crew")

    assert crew.hears("tekton.logs.web-1")
    assert crew.hears("tekton.logs.web-1.2")
    assert not crew.hears("tekton.logs.db")
    assert crew.may_subscribe("tekton.logs.>") is Hearing.SOME
    assert crew.may_subscribe("tekton.*.web-1") is Hearing.SOME
    assert crew.may_subscribe("tekton.logs.web-1") is Hearing.ALL
    assert crew.may_subscribe("tekton.logs.db") is Hearing.NONE


def test_of_tasks_the_owner_hears_his_own_and_who_manages_them_all() -> None:
    tasks = {"1": "engram", "2": "rhetor"}
    owner = SubjectRights(principal("component"), tasks.get)
    replica = SubjectRights(principal("component", subject="engram.2", component_id="engram.2"), tasks.get)
    manager = SubjectRights(principal("operator", subject="otto", component_id="otto"), tasks.get)
    monitor = SubjectRights(principal("monitor"), tasks.get)

    heard = [[rights.hears(f"tekton.tasks.{task}") for task in "123"] for rights in (owner, replica, manager, monitor)]
    of_all = [rights.may_subscribe("tekton.tasks.>") for rights in (owner, manager, monitor)]

    assert heard == [[True, False, False], [True, False, False], [True, True, True], [False, False, False]]
    assert of_all == [Hearing.SOME, Hearing.ALL, Hearing.NONE]
    assert owner.may_subscribe("tekton.>") is owner.may_subscribe("tekton.tasks.*") is Hearing.SOME
    assert owner.may_subscribe("tekton.tasks.2") is ENGRAM.may_subscribe("tekton.tasks.1") is Hearing.NONE
    assert not owner.may_publish("tekton.tasks.1")


def test_what_is_private_is_granted_only_where_it_is_named() -> None:
    listener, cashier, undertaker = rights("listener", component_id=None), rights("cashier"), rights("undertaker")

    assert not listener.hears("engram.requests.search")
    assert not listener.hears("tekton.metrics")
    assert cashier.hears("engram.requests.search")
    assert not cashier.hears("rhetor.requests.ask")
    assert not rights("cashier", component_id="rhetor", subject="rhetor").hears("orders.requests.a")
    assert undertaker.may_subscribe("tekton.dead.orders") is Hearing.ALL
    assert undertaker.may_subscribe("tekton.dead.>") is Hearing.SOME
    assert undertaker.may_subscribe("orders.>") is Hearing.NONE


def test_who_has_shown_nothing_hears_what_it_may_read_and_no_messages() -> None:
    anonymous = SubjectRights(ANONYMOUS)

    assert anonymous.may_subscribe("tekton.components.>") is Hearing.ALL
    assert anonymous.may_subscribe("tekton.metrics") is Hearing.ALL
    assert anonymous.may_subscribe(">") is Hearing.NONE
    assert anonymous.may_subscribe("_inbox.>") is Hearing.NONE
    assert all(SubjectRights(NOBODY).may_subscribe(one) is Hearing.NONE for one in (">", "tekton.>", "_inbox.>"))


def test_a_stream_is_read_as_far_as_what_it_takes_is_heard() -> None:
    assert ENGRAM.may_read(["orders.new", "orders.old"]) is Hearing.ALL
    assert ENGRAM.may_read(["orders.>"]) is Hearing.ALL
    assert ENGRAM.may_read(["orders.>"], "orders.*") is Hearing.ALL
    assert ENGRAM.may_read(["orders.>", "rhetor.requests.>"], "*.requests.>") is Hearing.NONE
    assert ENGRAM.may_read(["tekton.dead.>"]) is Hearing.NONE
    assert OTTO.may_read(["tekton.dead.>"]) is Hearing.ALL
    assert ENGRAM.may_read(["orders.>"], "payments.>") is Hearing.NONE


def test_a_message_is_from_who_sends_it() -> None:
    assert [ENGRAM.speaks_as(name) for name in ("engram", "rhetor", "", None)] == [True, False, False, False]
    assert OTTO.speaks_as("otto@example")
    assert SubjectRights(OWNER).sender == "owner"


def test_who_can_be_anybody_speaks_as_any_component_and_hears_its_requests() -> None:
    """A component that its author starts by hand has the owner's credential."""
    owner = SubjectRights(OWNER)

    assert [owner.speaks_as(name) for name in ("owner", "engram", "tekton", "", "a b", None)] == [True] * 2 + [
        False
    ] * 4
    assert owner.may_subscribe("engram.requests.>") is Hearing.ALL
    assert not owner.hears("_inbox.engram.abc.1")


@pytest.mark.parametrize("subject", ["ü", 'a"b', "a\\b", "x" * 256])
def test_who_has_a_name_that_cannot_stand_in_a_message_is_known_by_another(subject: str) -> None:
    who = rights("operator", subject=subject, component_id=None)

    assert Message(MessageType.EVENT, None, MessageContext(who.sender)).context.sender == who.sender
    assert who.speaks_as(who.sender)
    assert who.sender == who.inbox.removeprefix("_inbox.")


@pytest.mark.parametrize("wrong", ["", ".", "a..b", "a b", "a." * 20 + "a", "\ud800"])
def test_what_is_no_subject_is_refused_as_such(wrong: str) -> None:
    for asked in (ENGRAM.may_publish, ENGRAM.hears, ENGRAM.may_subscribe, lambda text: ENGRAM.may_read(["a"], text)):
        with pytest.raises(InvalidSubjectError):
            asked(wrong)


@pytest.mark.parametrize("pattern", ["a.*", ">"])
def test_a_pattern_is_not_published_to(pattern: str) -> None:
    with pytest.raises(InvalidSubjectError):
        ENGRAM.may_publish(pattern)


def test_everybody_has_a_token_of_his_own_for_answers() -> None:
    subjects = ["owner", "engram", "a.b", "a b", "ü", "x" * 256, "=owner", "*", ">", "\ud800"]
    users = [principal("operator", subject=subject, component_id=None) for subject in subjects]
    components = [principal("component", subject=name, component_id=name) for name in ("owner", "engram")]

    tokens = [owner_token(one) for one in (*users, *components)]

    assert len(set(tokens)) == len(tokens)
    assert all(re.fullmatch(r"[a-z0-9_=-]{1,129}", token) for token in tokens)
    assert tokens[-1] == "engram"
    for one, token in zip((*users, *components), tokens, strict=True):
        assert SubjectRights(one).may_subscribe(f"_inbox.{token}.abc.>") is Hearing.ALL


def test_the_answers_to_the_control_plane_are_for_nobody_else() -> None:
    impostor = rights("component", subject="tekton", component_id="tekton")

    assert impostor.may_subscribe("_inbox.tekton.>") is Hearing.NONE
    assert not impostor.may_publish("tekton.components.web")


# Against a model

TOKENS = ("a", "b", "requests", "tekton", "_inbox", "dead", "metrics")
UNIVERSE = [".".join(tokens) for length in (1, 2, 3, 4) for tokens in product(TOKENS, repeat=length)]
PERMISSIONS = ("messages:publish", "messages:read", "messages:manage", "metrics:read", "auth:manage")


def regex(pattern: str) -> re.Pattern[str]:
    """What *pattern* stands for on the bus."""
    tokens = {"*": r"[^.]+", ">": r".+"}
    written = pattern.split(".")
    body = r"\.".join(tokens.get(token, re.escape(token)) for token in written)
    named = "" if pattern[0] not in "*>" else r"(?!(?:tekton|_inbox)(?:\.|$))"
    asked = "" if written[1:2] == ["requests"] else r"(?!(?!tekton|_inbox)[^.]+\.requests\.)"
    return re.compile(named + asked + body)


class Model:
    """The component `a` with a role that has *permissions* and names subjects, the rules one after the other."""

    def __init__(self, permissions: frozenset[str], publish: list[str], subscribe: list[str], own: bool) -> None:
        self.permissions, self.publish, self.subscribe, self.own = permissions, publish, subscribe, own

    def may_publish(self, subject: str) -> bool:
        first, *rest = subject.split(".")
        published = "messages:publish" in self.permissions
        if first == "tekton" or not (published or self.publish):
            return False
        if first == "_inbox":
            return len(rest) >= 2
        if published and (not self.own or first == "a" or (rest[:1] == ["requests"] and len(rest) > 1)):
            return True
        return any(covers(pattern, subject) for pattern in self.publish)

    def may_name(self, reply: str) -> bool:
        return self.may_publish(reply) and (reply.partition(".")[0] != "_inbox" or self.hears(reply))

    def hears(self, subject: str) -> bool:
        first, *rest = subject.split(".")
        reads = "messages:read" in self.permissions
        named = [pattern for pattern in self.subscribe if regex(pattern).fullmatch(subject)]
        if first == "_inbox":
            return rest[:1] == ["a"] and len(rest) > 1 and (reads or bool(self.subscribe))
        if first == "tekton":
            manages = "messages:manage" in self.permissions and rest[:1] == ["dead"] and len(rest) > 1
            return manages or ("metrics:read" in self.permissions and rest == ["metrics"]) or bool(named)
        if rest[:1] == ["requests"] and len(rest) > 1:
            mine = (first == "a" or "auth:manage" in self.permissions) and (reads or bool(self.subscribe))
            return mine or any(pattern.split(".")[1:2] == ["requests"] for pattern in named)
        return reads or bool(named)


def patterns(first: tuple[str, ...]) -> st.SearchStrategy[str]:
    middle = st.lists(st.sampled_from((*TOKENS, "*")), max_size=2)
    return st.tuples(st.sampled_from(first), middle, st.booleans()).map(
        lambda made: (
            ".".join([made[0], *made[1], *([">"] if made[2] and made[0] != ">" else [])]) if made[0] != ">" else ">"
        )
    )


def cases() -> st.SearchStrategy[Model]:
    publish = st.lists(patterns(("a", "b", "requests", "*", ">")), max_size=2)
    subscribe = st.lists(patterns(("a", "b", "tekton", "*", ">")), max_size=2)
    return st.builds(Model, st.frozensets(st.sampled_from(PERMISSIONS)), publish, subscribe, st.booleans())


def of(model: Model) -> SubjectRights:
    role = Role(model.permissions, "own" if model.own else "all", tuple(model.publish), tuple(model.subscribe))
    grants = RoleTable({"it": role}).grants(["it"], "a")
    return SubjectRights(Principal(subject="a", roles=("it",), component_id="a", via="token", grants=grants))


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases())
def test_what_may_be_published_and_heard_is_what_the_rules_say(model: Model) -> None:
    made = of(model)

    assert [one for one in UNIVERSE if made.may_publish(one) != model.may_publish(one)] == []
    assert [one for one in UNIVERSE if made.hears(one) != model.hears(one)] == []
    assert [one for one in UNIVERSE if made.may_name(one) != model.may_name(one)] == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(), patterns((*TOKENS, "*", ">")))
def test_how_much_is_heard_of_a_pattern_is_what_the_rules_say(model: Model, pattern: str) -> None:
    matching = regex(pattern)

    heard = {model.hears(subject) for subject in UNIVERSE if matching.fullmatch(subject)}

    match of(model).may_subscribe(pattern):
        case Hearing.ALL:
            assert heard == {True}
        case Hearing.SOME:
            assert True in heard
        case Hearing.NONE:
            assert True not in heard
