"""The fair queue: whose turn it is, how many come before, and who has to leave."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authguard.concurrency import fair_queue as module
from authguard.concurrency.fair_queue import FairQueue
from tests.support.call_count import count_calls

Path = tuple[str, str]


def filled(*paths: Path) -> FairQueue[tuple[Path, int]]:
    """A queue with one item for each path, numbered in the order in which they came."""
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    for number, path in enumerate(paths):
        queue.push(path, (path, number))
    return queue


def order(queue: FairQueue[tuple[Path, int]]) -> list[int]:
    """The numbers of all items, in the order in which they are taken."""
    return [queue.pop()[1] for _ in range(len(queue))]


def test_networks_take_turns() -> None:
    """A network that sent one item is served after one item of a network that sent ten."""
    queue = filled(*[("flood", f"name{number}") for number in range(10)], ("home", "alice"))

    assert order(queue) == [0, 10, *range(1, 10)]


def test_the_accounts_of_a_network_take_turns() -> None:
    """Ten items for one account of a network do not come before one for another account of that network."""
    queue = filled(*[("office", "bob")] * 10, ("office", "alice"))

    assert order(queue) == [0, 10, *range(1, 10)]


def test_items_of_one_account_are_first_in_first_out() -> None:
    """Equal paths keep their order."""
    assert order(filled(*[("home", "alice")] * 5)) == [0, 1, 2, 3, 4]


def test_a_network_that_comes_back_has_its_turn_after_the_others() -> None:
    """A network gains nothing by sending the next item when its last one has been taken."""
    queue = filled(("flood", "a"), ("home", "alice"), ("office", "bob"))
    first = queue.pop()[1]
    queue.push(("flood", "b"), (("flood", "b"), 3))

    assert [first, *order(queue)] == [0, 1, 2, 3]


def test_an_item_that_is_removed_takes_its_queue_along() -> None:
    """A removed item is not taken, and a network without items has no turn."""
    queue = filled(("a", "x"), ("b", "y"), ("a", "z"), ("b", "y"))
    for path, number in ((("a", "x"), 0), (("b", "y"), 3), (("a", "z"), 2)):
        queue.remove(path, (path, number))

    assert (len(queue), list(queue._queues)) == (1, ["b"])
    assert order(queue) == [1]
    assert queue._queues == {}


def test_a_queue_that_is_not_allowed_keeps_its_turn() -> None:
    """``pop_allowed`` takes the next item of the networks that are allowed. The others are then as far ahead as
    before."""
    queue = filled(("flood", "a"), ("flood", "b"), ("home", "alice"), ("office", "bob"))

    assert queue.pop_allowed(lambda network: network != "flood") == (("home", "alice"), 2)
    assert queue.pop_allowed(lambda network: network == "nowhere") is None
    assert order(queue) == [0, 3, 1]


paths = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))


@given(st.lists(paths, max_size=12), st.integers(0, 6), paths)
def test_it_says_how_many_items_come_before_a_new_one(came: list[Path], taken: int, path: Path) -> None:
    """``ahead`` is the number of items that are really taken before a new one, wherever the turn is at the moment."""
    queue = filled(*came)
    for _ in range(min(taken, len(queue))):
        queue.pop()
    ahead, before = queue.ahead(path), len(queue)
    queue.push(path, (path, -1))

    assert order(queue).index(-1) == ahead <= before


@given(st.lists(paths, min_size=1, max_size=16), paths)
def test_who_has_most_makes_room_and_is_left_with_no_less(came: list[Path], path: Path) -> None:
    """The item that leaves is the last of the longest queue. That network, or that account of the same network, has
    afterwards at least as many items as the newcomer."""
    queue = filled(*came)
    item = queue.displaceable(path)
    network = [sum(one[0] == name for one in came) for name in "abc"]
    own = came.count(path)

    if item is None:
        assert max(network) < sum(one[0] == path[0] for one in came) + 2
        assert not [one for one in came if one[0] == path[0] and came.count(one) >= own + 2]
        return
    displaced, number = item
    assert number == max(index for index, one in enumerate(came) if one == displaced)
    assert order(copy.deepcopy(queue)).index(number) == max(
        order(copy.deepcopy(queue)).index(index)
        for index, one in enumerate(came)
        if one[0] == displaced[0] and came.count(one) == came.count(displaced)
    )
    assert came.count(displaced) == max(came.count(one) for one in came if one[0] == displaced[0])
    queue.remove(displaced, item)
    queue.push(path, (path, -1))
    assert len(queue) == len(came)
    if displaced[0] == path[0]:
        assert came.count(displaced) - 1 >= own + 1
    else:
        sizes = {name: len(each) for name, each in copy.copy(queue._queues).items()}
        assert sizes[displaced[0]] >= sizes[path[0]]
        assert network["abc".index(displaced[0])] == max(network)


def forgetful(queue: FairQueue[tuple[Path, int]]) -> FairQueue[tuple[Path, int]]:
    """A copy of the queue that has to find its longest queues anew."""
    clone = copy.deepcopy(queue)
    for inner in (clone, *clone._queues.values()):
        inner._longest_queue = None
    return clone


steps = st.tuples(st.sampled_from(["push", "push", "pop", "remove", "pop_allowed"]), paths)


@given(st.lists(steps, max_size=30))
@example([("push", ("a", "x")), ("push", ("b", "x")), ("pop_allowed", ("b", "x"))])
def test_what_changes_a_queue_changes_who_makes_room(history: list[tuple[str, Path]]) -> None:
    """The longest queue is remembered while nothing changes, and found anew after each change."""
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    items: list[tuple[Path, int]] = []

    for number, (action, path) in enumerate(history):
        if action == "push":
            queue.push(path, (path, number))
            items.append((path, number))
        elif items and action == "pop":
            items.remove(queue.pop())
        elif items and action == "remove":
            item = items.pop()
            queue.remove(item[0], item)
        elif action == "pop_allowed" and (popped := queue.pop_allowed(path[0].__eq__)) is not None:
            items.remove(popped)
        if items:
            assert queue.displaceable(path) == forgetful(queue).displaceable(path)
            assert queue.last_of_longest() == forgetful(queue).last_of_longest()
            assert len(queue) == queue.size == len(items)


def test_for_a_network_that_has_nothing_in_the_queue_nothing_is_counted() -> None:
    """One item of each other network comes before its own, so that the cost does not grow with their number."""
    costs = [
        count_calls(partial(filled(*[(f"{number}", "x") for number in range(networks)]).ahead, ("another", "x")))
        for networks in (10, 1000)
    ]

    assert costs[0] == costs[1]


def test_the_longest_queue_is_found_once_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood asks a full queue again and again who could make room, and nothing changes meanwhile."""
    compared: list[int] = []

    def size(queue: FairQueue[Any]) -> int:
        compared.append(queue.size)
        return queue.size

    monkeypatch.setattr(module, "_SIZE", size)
    queue = filled(*[(f"network{number}", "name") for number in range(100)])

    for number in range(1000):
        assert queue.displaceable((f"other{number}", "name")) is None

    assert len(compared) == 100


@pytest.mark.parametrize("networks", [2, 8])
def test_networks_with_one_item_each_keep_their_places(networks: int) -> None:
    """However many networks come, none of them takes the place of another one that asked for no more."""
    queue = filled(*[(f"network{number}", "name") for number in range(networks)])

    assert queue.displaceable(("another", "name")) is None
