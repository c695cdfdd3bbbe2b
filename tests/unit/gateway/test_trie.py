"""The routing table."""

from __future__ import annotations

import pytest

from gateway.trie import Trie, parameters_of, split_template


def trie(*routes: str) -> Trie[str]:
    table: Trie[str] = Trie()
    for route in routes:
        method, template = route.split(" ")
        table.add(method, template, route)
    return table


def test_a_fixed_segment_wins_over_a_parameter():
    table = trie("DELETE /sessions/{id}", "DELETE /sessions/all")
    assert table.find("DELETE", "/sessions/all") == ("DELETE /sessions/all", ())
    assert table.find("DELETE", "/sessions/other") == ("DELETE /sessions/{id}", ["other"])


def test_a_fixed_segment_that_leads_nowhere_gives_way_to_a_parameter():
    table = trie("GET /collections/name/{name}", "GET /collections/{collection}/records/{id}")
    assert table.find("GET", "/collections/name/records") == ("GET /collections/name/{name}", ["records"])
    assert table.find("GET", "/collections/name/records/1") == (
        "GET /collections/{collection}/records/{id}",
        ["name", "1"],
    )


def test_a_method_that_the_fixed_path_lacks_is_looked_for_behind_the_parameter():
    table = trie("DELETE /sessions/all", "GET /sessions/{id}")
    assert table.find("GET", "/sessions/all") == ("GET /sessions/{id}", ["all"])
    assert table.allowed("/sessions/all") == ["DELETE", "GET", "HEAD"]


def test_parameters_come_in_order_and_raw():
    assert trie("GET /{a}/x/{b}").find("GET", "/1%2F2/x/%20") == ("GET /{a}/x/{b}", ["1%2F2", "%20"])


def test_head_finds_what_get_finds():
    table = trie("GET /a", "POST /a")
    assert table.find("HEAD", "/a") == ("GET /a", ())
    assert table.allowed("/a") == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize("path", ["/", "", "/a/", "//a", "/a//b", "/a/b/c", "a", "/A"])
def test_what_is_not_routed_is_not_found(path: str):
    table = trie("GET /a", "GET /a/{b}", "GET /a/{b}/d")
    assert table.find("GET", path) is None
    assert table.allowed(path) == []


def test_a_path_of_many_segments_is_looked_up_at_once():
    table = trie("GET /{a}/{b}/{c}", "GET /a/{b}/c", "GET /a/a/{c}/d")
    assert table.find("GET", "/a" * 20_000) is None


def test_two_routes_cannot_have_one_place():
    with pytest.raises(ValueError, match="twice"):
        trie("GET /users/{id}", "GET /users/{user_id}")


@pytest.mark.parametrize("template", ["users", "/users/{id=**}", "/users/*", "/users/x{id}", "/users:ban", "/{a.b}"])
def test_a_template_of_another_kind_is_refused(template: str):
    with pytest.raises(ValueError, match=r"parameters|slash"):
        split_template(template)


def test_a_template_names_its_parameters():
    assert parameters_of("/a/{b}/c/{d}") == ["b", "d"]
