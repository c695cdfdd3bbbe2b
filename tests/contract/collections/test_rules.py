"""Rules over gRPC: who gets what, row by row, and what a refusal tells."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastcms.collections.v1 import collections_pb2, profiles_pb2
from fastcms_common.errors import Denied, Invalid, NotFound, Unauthenticated
from fastcms_common.ids import new_id
from tests.contract.collections.engines import on_one_engine
from tests.contract.collections.server import CollectionsServer
from tests.mongo_server import ALL_OF_AN_ARRAY, FIELD_AGAINST_FIELD
from tests.storages import needs

NOBODY = ""


async def member(server: CollectionsServer, realm: str, **data: Any) -> tuple[str, str]:
    """A member of the auth collection `members`: id and token."""
    id = new_id()
    request = profiles_pb2.CreateProfileRequest(
        collection=realm, id=id, email=f"{id}@example.com", data=orjson.dumps(data)
    )
    await server.call(server.profiles.CreateProfile, request, await server.service())
    return id, await server.user(id, col=realm)


async def test_null_is_for_admins_only(server: CollectionsServer) -> None:
    await server.create("posts", "title")
    record = await server.add("posts", title="t")
    user = await server.user()
    for bearer, error in ((user, Denied), (NOBODY, Unauthenticated)):
        with pytest.raises(error):
            await server.list("posts", bearer=bearer)
        with pytest.raises(error):
            await server.add("posts", bearer, title="x")
        with pytest.raises(NotFound):
            await server.get("posts", record["id"], bearer)
        with pytest.raises(NotFound):
            await server.patch("posts", record["id"], {"title": "x"}, bearer)
        with pytest.raises(NotFound):
            await server.remove("posts", record["id"], bearer)
    assert await server.values("posts", "title") == ["t"]


async def test_empty_is_for_anyone(server: CollectionsServer) -> None:
    await server.open("posts", "title")
    record = await server.add("posts", NOBODY, title="t")
    assert await server.values("posts", "title", bearer=NOBODY) == ["t"]
    await server.patch("posts", record["id"], {"title": "x"}, NOBODY)
    await server.remove("posts", record["id"], NOBODY)


async def test_a_list_rule_filters_and_counts_rows(server: CollectionsServer) -> None:
    await server.open("posts", "title", {"name": "public", "type": "bool"}, list_rule="public = true")
    for number in range(6):
        await server.add("posts", title=str(number), public=number % 2 == 0)
    page = await server.list("posts", bearer=NOBODY, per_page=2)
    assert page["total"] == 3
    assert await server.values("posts", "title", "title > '0'", NOBODY) == ["2", "4"]
    assert (await server.list("posts"))["total"] == 6


async def test_a_record_that_may_not_be_viewed_is_not_there(server: CollectionsServer) -> None:
    await server.open("posts", "title", view_rule="title != 'secret'", update_rule="title = 'open'", delete_rule=None)
    secret, plain, free = [await server.add("posts", title=title) for title in ("secret", "plain", "open")]
    user = await server.user()
    for attempt in (
        server.get("posts", secret["id"], user),
        server.patch("posts", secret["id"], {"title": "x"}, user),
        server.remove("posts", secret["id"], user),
    ):
        with pytest.raises(NotFound):
            await attempt
    for attempt in (
        server.patch("posts", plain["id"], {"title": "open"}, user),
        server.remove("posts", plain["id"], user),
    ):
        with pytest.raises(Denied):
            await attempt
    with pytest.raises(Unauthenticated):
        await server.remove("posts", plain["id"], NOBODY)
    # The update rule judges what is stored, not what comes in.
    assert (await server.patch("posts", free["id"], {"title": "closed"}, user))["data"]["title"] == "closed"
    with pytest.raises(Denied):
        await server.patch("posts", free["id"], {"title": "open"}, user)


async def test_the_owner_and_nobody_else(server: CollectionsServer) -> None:
    realm = (await server.create("members", "name", type="auth")).id
    mine = "owner = @request.auth.id"
    relation = {"name": "owner", "type": "relation", "collection": "members"}
    rules = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"), mine)
    await server.create("notes", "text", relation, **rules)
    ada, ada_token = await member(server, realm)
    bob, bob_token = await member(server, realm)
    note = await server.add("notes", ada_token, text="n", owner=ada)
    with pytest.raises(Denied):
        await server.add("notes", bob_token, text="n", owner=ada)
    assert await server.values("notes", "text", bearer=ada_token) == ["n"]
    assert await server.values("notes", "text", bearer=bob_token) == []
    with pytest.raises(NotFound):
        await server.patch("notes", note["id"], {"text": "x"}, bob_token)
    with pytest.raises(NotFound):
        await server.remove("notes", note["id"], bob_token)
    await server.patch("notes", note["id"], {"owner": bob}, ada_token)
    with pytest.raises(NotFound):
        await server.get("notes", note["id"], ada_token)


async def test_an_anonymous_caller_equals_null_and_the_empty_text(server: CollectionsServer) -> None:
    await server.open("posts", "title")
    await server.add("posts", title="t")
    for rule, seen in (
        ('@request.auth.id != ""', 0),
        ("@request.auth.id != null", 0),
        ('@request.auth.id = ""', 1),
        ("@request.auth.id = null", 1),
        ('@request.auth.role = "user"', 0),
        ('!(@request.auth.id != "")', 1),
        ("title = @request.auth.id", 0),
    ):
        posts = await server.call(server.collections.GetCollectionByName, _by_name("posts"))
        await server.change(posts.id, list_rule=rule)
        assert (await server.list("posts", bearer=NOBODY))["total"] == seen, rule
        assert (await server.list("posts", bearer=await server.user()))["total"] in (1 - seen, 0), rule


def _by_name(name: str) -> Any:
    return collections_pb2.GetCollectionByNameRequest(name=name)


async def test_rules_along_relations(server: CollectionsServer) -> None:
    realm = (await server.create("members", {"name": "team", "type": "text"}, type="auth")).id
    await server.open("projects", "team", {"name": "parent", "type": "relation", "collection": "projects"})
    project = {"name": "project", "type": "relation", "collection": "projects"}
    rule = "project.team = @request.auth.team || project.parent.parent.team = @request.auth.team"
    await server.create("tasks", "title", project, list_rule=rule, view_rule=rule, update_rule=rule, create_rule=rule)
    top = await server.add("projects", team="red")
    middle = await server.add("projects", parent=top["id"])
    low = await server.add("projects", parent=middle["id"], team="blue")
    task = await server.add("tasks", title="t", project=low["id"])
    _, red = await member(server, realm, team="red")
    _, blue = await member(server, realm, team="blue")
    _, green = await member(server, realm, team="green")
    for token in (red, blue):
        assert "t" in await server.values("tasks", "title", bearer=token)
        await server.get("tasks", task["id"], token)
        await server.patch("tasks", task["id"], {"title": "t"}, token)
        await server.add("tasks", token, title="t2", project=low["id"])
    assert await server.values("tasks", "title", bearer=green) == []
    with pytest.raises(NotFound):
        await server.patch("tasks", task["id"], {"title": "x"}, green)
    with pytest.raises(Denied):
        await server.add("tasks", green, title="t2", project=low["id"])


async def test_the_caller_s_own_relations_in_a_rule(server: CollectionsServer) -> None:
    await server.create("teams", "name", {"name": "boss", "type": "relation", "collection": "teams"})
    top = await server.add("teams", name="top")
    red = await server.add("teams", name="red", boss=top["id"])
    fields: tuple[dict[str, Any], ...] = (
        {"name": "team", "type": "relation", "collection": "teams"},
        {"name": "teams", "type": "relation", "collection": "teams", "max_select": 3},
    )
    realm = (await server.create("members", *fields, type="auth")).id
    await server.create("robots", "name", type="auth")
    rule = "title = @request.auth.team.name || title ?= @request.auth.teams.boss.name"
    await server.open("posts", "title", list_rule=rule, update_rule=rule)
    posts = {title: await server.add("posts", title=title) for title in ("red", "top", "blue")}
    _, one = await member(server, realm, team=red["id"])
    _, many = await member(server, realm, teams=[top["id"], red["id"]])
    _, none = await member(server, realm)
    assert await server.values("posts", "title", bearer=one) == ["red"]
    assert await server.values("posts", "title", bearer=many) == ["top"]
    for bearer in (none, NOBODY, await server.user()):
        assert await server.values("posts", "title", bearer=bearer) == []
    await server.patch("posts", posts["red"]["id"], {"title": "red"}, one)
    with pytest.raises(Denied):
        await server.patch("posts", posts["blue"]["id"], {"title": "red"}, one)
    for rule in ("title = @request.auth.team.nope", "title = @request.auth.team.boss.boss.boss.name"):
        with pytest.raises(Invalid) as refused:
            await server.create("wrong", "title", list_rule=rule)
        assert refused.value.fields[0].field == "list_rule"


async def test_another_collection_in_a_rule(server: CollectionsServer) -> None:
    realm = (await server.create("members", "name", type="auth")).id
    await server.open(
        "seats",
        {"name": "member", "type": "relation", "collection": "members"},
        "team",
        "role",
    )
    rule = (
        "@collection.seats.member = @request.auth.id && @collection.seats.team = team && "
        "(@collection.seats.role = 'owner' || @collection.seats.role = 'editor')"
    )
    await server.open("posts", "title", "team", list_rule=rule, update_rule=rule)
    ada, token = await member(server, realm)
    # An owner of one team, a guest of the other: the conditions have to hold of one and the same seat.
    await server.add("seats", member=ada, team="red", role="owner")
    await server.add("seats", member=ada, team="blue", role="guest")
    red, blue = [await server.add("posts", title=team, team=team) for team in ("red", "blue")]
    assert await server.values("posts", "title", bearer=token) == ["red"]
    await server.patch("posts", red["id"], {"title": "r"}, token)
    with pytest.raises(Denied):
        await server.patch("posts", blue["id"], {"title": "b"}, token)


async def test_incoming_data_in_rules(server: CollectionsServer) -> None:
    await server.open(
        "posts",
        "title",
        "status",
        create_rule="@request.data.status:isset = false || status = 'draft'",
        update_rule="@request.data.status:changed = false && @request.data.title:length < 4",
    )
    user = await server.user()
    post = await server.add("posts", user, title="t")
    await server.add("posts", user, title="t", status="draft")
    with pytest.raises(Denied):
        await server.add("posts", user, title="t", status="live")
    await server.patch("posts", post["id"], {"status": None, "title": "x"}, user)
    with pytest.raises(Denied):
        await server.patch("posts", post["id"], {"status": "live"}, user)


async def test_the_query_and_the_method_in_rules(server: CollectionsServer) -> None:
    await server.open("posts", "title", list_rule="@request.query.key = 'k' && @request.method = 'GET'")
    await server.add("posts", title="t")
    assert (await server.list("posts", bearer=NOBODY))["total"] == 0
    assert (await server.list("posts", bearer=NOBODY, query={"key": "k"}))["total"] == 1


async def test_manage_rule_acts_for_others(server: CollectionsServer) -> None:
    await server.create("posts", "title", view_rule="", manage_rule="@request.auth.role = 'user' && title != 'locked'")
    user = await server.user()
    post, locked = await server.add("posts", title="t"), await server.add("posts", title="locked")
    await server.patch("posts", post["id"], {"title": "x"}, user)
    assert await server.values("posts", "title", bearer=user) == ["x"]
    await server.remove("posts", post["id"], user)
    with pytest.raises(Denied):
        await server.patch("posts", locked["id"], {"title": "x"}, user)
    with pytest.raises(Unauthenticated):
        await server.patch("posts", locked["id"], {"title": "x"}, NOBODY)


BAD_RULES = [
    ("title =", "Unexpected the end"),
    ("titel = 'x'", "Unknown field 'titel'"),
    ("title = 1", "Unlike kinds"),
    ("n = 'x'", "Unlike kinds"),
    ("n ~ 'x'", "compares texts"),
    ("ok > true", "compares numbers"),
    ("at = 'soon'", "not a time"),
    ("title.x = 1", "has no 'x'"),
    ("other.nope = 1", "Unknown field 'nope' in 'others'"),
    ("other.other.other.other.name = 'x'", "at most 3 relations"),
    ("@collection.nowhere.x = 1", "Unknown collection"),
    ("@request.auth.nope = 1", "no auth collection"),
    ("@request.data.nope = 1", "Unknown field"),
    ("@request.body.x = 1", "Unknown name"),
    ("title:length > 1", "many values"),
    ("title:isset = true", "':isset' is for"),
    ("title:lower > 'a'", "':lower' goes with"),
    ("title ~ body", "a value and not a field"),
    ("@today-1 = at", "Unknown macro"),
    ("((((title = 'x')", "')' is missing"),
    ("title = 'x' OR 1=1", "Unexpected 'OR'"),
    ("title = 'x'; DROP TABLE x", "Unexpected character ';'"),
    ("$where = 1", "Unexpected character '$'"),
    ("place = 'x'", "lat and lon"),
    ("(" * 40 + "title = 'x'" + ")" * 40, "nest deeper"),
    (" || ".join(["other.name = 'x'"] * 33), "At most 32 paths"),
    (" ", "Unexpected the end"),
    ("title = 'x' && " * 400 + "title = 'x'", "4096"),
]


@pytest.fixture
async def typed(server: CollectionsServer) -> str:
    await server.open("others", "name", {"name": "other", "type": "relation", "collection": "others"})
    made = await server.open(
        "posts",
        "title",
        "body",
        {"name": "n", "type": "number"},
        {"name": "ok", "type": "bool"},
        {"name": "at", "type": "datetime"},
        {"name": "place", "type": "geopoint"},
        {"name": "secret", "type": "text", "hidden": True},
        {"name": "tags", "type": "select", "values": ["a", "b"], "max_select": 2},
        {"name": "other", "type": "relation", "collection": "others"},
    )
    return made.id


@on_one_engine
@pytest.mark.parametrize(("rule", "message"), BAD_RULES)
async def test_a_bad_rule_is_refused_with_its_place(
    server: CollectionsServer, typed: str, rule: str, message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await server.change(typed, list_rule=rule)
    (error,) = refused.value.fields
    assert error.field == "list_rule"
    assert message in error.message
    assert refused.value.reason == ("RULE_INVALID" if len(rule) <= 4096 else "VALIDATION_FAILED")
    # The same for a filter, which is refused without an answer; but no filter is no mistake.
    if not rule.strip():
        return
    with pytest.raises(Invalid) as refused:
        await server.list("posts", rule)
    assert refused.value.fields[0].field == "filter"


@pytest.mark.parametrize(
    "filter",
    [
        "secret = 's'",
        "secret ~ '%'",
        "secret != null",
        "secret:lower = 's'",
        "other.secret = 's'",
        "@collection.posts.secret = 's'",
        "@collection.posts.title = 't'",
    ],
)
async def test_hidden_fields_cannot_be_probed(server: CollectionsServer, typed: str, filter: str) -> None:
    await server.add("posts", title="t", secret="s")
    user = await server.user()
    for bearer in (user, NOBODY):
        with pytest.raises(Invalid) as refused:
            await server.list("posts", filter, bearer)
        unknown = await _message_of(server, "zzz = 's'", bearer)
        if "secret" in filter and "@collection" not in filter:
            assert (
                refused.value.fields[0].message.split("(")[0].replace("secret", "zzz").startswith(unknown.split("'")[0])
            )
        for more in ({"sort": "secret"}, {"fields": "secret"}, {"expand": "secret"}):
            with pytest.raises(Invalid):
                await server.list("posts", bearer=bearer, **more)
        page = await server.list("posts", bearer=bearer)
        assert "secret" not in page["items"][0]["data"]
    assert await server.values("posts", "secret", "secret = 's'") == ["s"]


async def test_a_filter_that_was_asked_before_is_judged_anew_for_others_and_after_a_change(
    server: CollectionsServer,
) -> None:
    made = await server.open("posts", "title", {"name": "secret", "type": "text", "hidden": True})
    await server.add("posts", title="t", secret="s")
    user = await server.user()
    for _ in range(2):
        assert await server.values("posts", "title", "secret = 's'") == ["t"]
        with pytest.raises(Invalid):
            await server.list("posts", "secret = 's'", user)
    title, secret = ({"id": field.id, "name": field.name, "type": "text"} for field in made.schema.fields)
    await server.change(made.id, schema=[title, secret])
    assert await server.values("posts", "title", "secret = 's'", user) == ["t"]
    await server.change(made.id, schema=[title, secret | {"hidden": True}])
    with pytest.raises(Invalid):
        await server.list("posts", "secret = 's'", user)


async def test_a_filter_about_its_caller_is_worked_out_for_each(server: CollectionsServer) -> None:
    await server.open("posts", "title")
    ids = ["0" * 31 + "1", "0" * 31 + "2"]
    first, second = [await server.user(id) for id in ids]
    await server.add("posts", title=ids[0])
    for _ in range(2):
        assert await server.values("posts", "title", "title = @request.auth.id", first) == [ids[0]]
        assert await server.values("posts", "title", "title = @request.auth.id", second) == []


async def _message_of(server: CollectionsServer, filter: str, bearer: str) -> str:
    with pytest.raises(Invalid) as refused:
        await server.list("posts", filter, bearer)
    return refused.value.fields[0].message


async def test_a_filter_reaches_only_what_may_be_viewed(server: CollectionsServer) -> None:
    await server.open("people", "name", "salary", view_rule="name != 'boss'")
    await server.open("posts", "title", {"name": "author", "type": "relation", "collection": "people"})
    boss = await server.add("people", name="boss", salary="9")
    clerk = await server.add("people", name="clerk", salary="1")
    await server.add("posts", title="b", author=boss["id"])
    await server.add("posts", title="c", author=clerk["id"])
    user = await server.user()
    assert await server.values("posts", "title", "author.salary ~ '%'", user) == ["c"]
    assert await server.values("posts", "title", "author.salary = '9'", user) == []
    assert await server.values("posts", "title", "author.salary = '9'") == ["b"]
    page = await server.list("posts", bearer=user, expand="author", sort="title")
    assert [item["expand"] for item in page["items"]] == [{}, {"author": page["items"][1]["expand"]["author"]}]


async def test_a_filter_learns_nothing_hidden_by_way_of_the_caller_s_own_record(server: CollectionsServer) -> None:
    """A member's own record may hold what only admins know of them, and lead to what they may not view."""
    await server.open("teams", "name", {"name": "code", "type": "text", "hidden": True}, view_rule="name = 'open'")
    fields: tuple[dict[str, Any], ...] = (
        {"name": "risk", "type": "text", "hidden": True},
        {"name": "team", "type": "relation", "collection": "teams"},
        {"name": "second", "type": "relation", "collection": "teams"},
    )
    realm = (await server.create("members", *fields, type="auth", view_rule="")).id
    closed, shown = [await server.add("teams", name=name, code="7") for name in ("closed", "open")]
    person, token = await member(server, realm, team=closed["id"], second=shown["id"])
    await server.patch("members", person, {"risk": "high"})
    await server.open("posts", "title")
    await server.add("posts", title="t")
    for filter in ("@request.auth.risk = 'high'", "@request.auth.team.code = '7'", "@request.auth.second.code = '7'"):
        with pytest.raises(Invalid):
            await server.list("posts", filter, token)
    assert await server.values("posts", "title", "@request.auth.second.name = 'open'", token) == ["t"]
    for filter in ("@request.auth.team.name = 'closed'", "@request.auth.team.name ~ '%'"):
        assert await server.values("posts", "title", filter, token) == [], filter
    # A rule is the admins' own word, and knows everything.
    await server.open("secrets", "title", list_rule="@request.auth.risk = 'high' && @request.auth.team.code = '7'")
    await server.add("secrets", title="s")
    assert await server.values("secrets", "title", bearer=token) == ["s"]


@needs(FIELD_AGAINST_FIELD)
async def test_a_comparison_of_fields_reaches_only_what_may_be_viewed(server: CollectionsServer) -> None:
    await server.open("teams", "name", view_rule="name = 'open'")
    team = {"name": "team", "type": "relation", "collection": "teams"}
    await server.open("people", "name", team)
    await server.open("posts", "title", {"name": "author", "type": "relation", "collection": "people"})
    for name in ("open", "closed"):
        where = await server.add("teams", name=name)
        author = await server.add("people", name="p", team=where["id"])
        await server.add("posts", title=name, author=author["id"])
    user = await server.user()
    for filter in ("author.team.name = title", "title >= author.team.name", "author.team.name != null"):
        assert await server.values("posts", "title", filter, user) == ["open"], filter
        assert len(await server.values("posts", "title", filter)) == 2


async def test_an_email_is_seen_by_its_owner_and_by_whom_they_let(server: CollectionsServer) -> None:
    realm = (await server.create("members", "name", type="auth", list_rule="", view_rule="")).id
    ada, ada_token = await member(server, realm, name="ada")
    bob, bob_token = await member(server, realm, name="bob", email_visibility=True)

    async def emails(bearer: str | None, filter: str = "") -> list[str | None]:
        return [email and email[:36] for email in await server.values("members", "email", filter, bearer, sort="name")]

    assert await emails(None) == [ada, bob]
    assert await emails(ada_token) == [ada, bob]
    assert await emails(bob_token) == [None, bob]
    assert await emails(NOBODY) == [None, bob]
    # Nor can it be guessed by filtering.
    assert await emails(bob_token, f"email = '{ada}@example.com'") == []
    assert await emails(bob_token, "email ~ 'example'") == [bob]
    assert await emails(bob_token, "email = null") == [None]
    assert await emails(ada_token, f"email = '{ada}@example.com'") == [ada]
    with pytest.raises(Invalid):
        await server.list("members", bearer=bob_token, sort="email")
    for name, value in (("email", "x@example.com"), ("verified", True), ("password", "x")):
        for bearer in (ada_token, None):
            with pytest.raises((Invalid, Denied, NotFound)):
                await server.patch("members", ada, {name: value}, bearer)


@needs(FIELD_AGAINST_FIELD)
async def test_an_email_cannot_be_guessed_by_comparing_it_with_a_field(server: CollectionsServer) -> None:
    realm = (await server.create("members", "name", type="auth", list_rule="", view_rule="")).id
    victim, _ = await member(server, realm, name="0")
    shown, _ = await member(server, realm, name="0", email_visibility=True)
    await server.open("posts", "title", {"name": "author", "type": "relation", "collection": "members"})
    for author in (victim, shown):
        await server.add("posts", title=f"{author}@example.com", author=author)
        await server.add("posts", title="0", author=author)
    user = await server.user()
    for filter, seen in (
        ("author.email = title", 1),
        ("title = author.email", 1),
        ("author.email > title", 1),
        ("title <= author.email", 2),
        ("author.email != null", 2),
    ):
        page = await server.list("posts", filter, user)
        assert page["total"] == seen, filter
        assert {item["data"]["author"] for item in page["items"]} == {shown}, filter
        assert (await server.list("posts", filter))["total"] == 2 * seen
    for filter in ("email > name", "name < email", "email = email && email != null"):
        assert await server.values("members", "name", filter, user) == ["0"], filter
        assert (await server.list("members", filter))["total"] == 2


@needs(ALL_OF_AN_ARRAY)
async def test_a_filter_in_every_form(server: CollectionsServer, typed: str) -> None:
    await server.add("posts", title="Ärger", n=1, ok=True, tags=["a"], at="2026-01-01T00:00:00Z")
    await server.add("posts", title="b", n=2.5, ok=False, tags=["a", "b"], place={"lat": 1, "lon": 2})
    await server.add("posts", title=None)
    for filter, titles in (
        ("title ~ 'ÄRG'", ["Ärger"]),
        ("title:lower = 'ärger'", ["Ärger"]),
        ("title ~ 'b%'", ["b"]),
        ("title != 'b'", [None, "Ärger"]),
        ("n > 1 && n <= 2.5", ["b"]),
        ("n = null", [None]),
        ("!(n >= 0)", [None]),
        ("tags = 'a'", ["Ärger"]),
        ("tags ?= 'b'", ["b"]),
        ("tags:length = 2", ["b"]),
        ("tags:each ?~ 'A'", ["b", "Ärger"]),
        ("at < @now && at >= '2026-01-01'", ["Ärger"]),
        ("created >= @day-1 && created <= @now", [None, "b", "Ärger"]),
        ("place.lat >= 1", ["b"]),
        ("place != null", ["b"]),
        ("ok = true || title = null", [None, "Ärger"]),
        ("@request.auth.role = 'admin'", [None, "b", "Ärger"]),
    ):
        assert await server.values("posts", "title", filter, sort="title") == titles, filter
