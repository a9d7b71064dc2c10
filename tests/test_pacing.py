"""What work is expected to take, from what it took."""

import math
import threading

import pytest

from ekiben.pacing import AT_ONCE_S, RECENT_S, Pace, Share, Turns, measured

PATIENCE_S = 120


def paced(*took):
    pace = Pace()
    for seconds, rows in took:
        pace.took(seconds, rows)
    return pace


def test_work_that_was_always_as_large_is_taken_to_grow_with_its_rows():
    assert paced(*[(0.2, 1)] * 5).expected_s(10) == pytest.approx(2.0)


def test_what_each_time_costs_and_what_each_row_costs_are_told_apart():
    pace = paced(*((0.5 + 0.1 * rows, rows) for rows in (1, 4, 2, 9)))
    assert pace.expected_s(20) == pytest.approx(2.5)
    assert paced((0.3, 1), (0.3, 50), (0.3, 7)).expected_s(1000) == pytest.approx(0.3)


def test_more_rows_are_never_expected_to_take_less_and_no_row_more_than_all_that_was_measured():
    assert paced((0.4, 1), (0.2, 4)).expected_s(9) == pytest.approx(0.3, rel=0.1)
    assert paced((0.1, 10), (9.0, 11)).expected_s(21) == pytest.approx(9.1, rel=0.05)


def test_what_was_long_ago_counts_for_little():
    pace = paced((60.0, 1), *[(0.1, 1)] * 60)
    assert pace.expected_s(1) < 0.3


def test_a_slow_act_is_measured_once():
    asked, slow = [], threading.Event()

    def act(rows):
        asked.append(rows)
        slow.wait(0.3)

    assert measured(act).expected_s(1) >= 0.3
    assert asked == [1]


def test_a_piece_waits_for_its_share_of_those_before_it():
    turns = Turns(2, {"slow": paced((1.0, 1)), "quick": paced((0.1, 1))})
    ends = [turns.take("slow", 1)]
    assert turns.expected_s("quick", 1) == pytest.approx(0.1)  # a thread is free
    ends += [turns.take("slow", 1), turns.take("slow", 3)]
    assert turns.expected_s("quick", 2) == pytest.approx(5 / 2 + 0.2)
    for end in ends:
        end(None)
    assert (turns.n_unanswered, turns.expected_s("slow", 1)) == (0, pytest.approx(1.0))


def test_a_piece_that_fails_is_measured_too():
    turns = Turns(1)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        turns.timed("arm", 1, fail)()
    assert 0 < turns.expected_s("arm", 1) < PATIENCE_S


def test_what_one_service_learns_another_does_not():
    known = {"arm": paced((1.0, 1))}
    turns = Turns(1, known)
    turns.timed("arm", 1, len)("")
    assert known["arm"].expected_s(1) == 1.0
    assert turns.expected_s("arm", 1) < 1.0


# ── a share of the time


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def explained(clock, share, n, *, seconds, rests=0.0, predicting=True):
    """Do pieces one after another, each when it may be; give how long each waited."""
    waited = []
    for _ in range(n):
        if predicting:
            share.others_at = clock.now
        waited.append(share.waits_s())
        clock.now += waited[-1] + seconds
        share.took(seconds)
        clock.now += rests
    return waited


@pytest.mark.parametrize("part", [0.1, 0.25, 0.5, 1.0])
def test_a_flood_takes_its_share_of_the_time_and_no_more(part):
    clock = Clock()
    share, began = Share(part, clock=clock), clock.now
    explained(clock, share, 1000, seconds=0.002)
    assert 2.0 / (clock.now - began) == pytest.approx(part, rel=0.02)


def test_who_does_less_than_the_share_never_waits():
    clock = Clock()
    assert not any(explained(clock, Share(0.25, clock=clock), 500, seconds=0.01, rests=0.031))
    together = Share(0.25, clock=clock)
    assert not any(explained(clock, together, 10, seconds=AT_ONCE_S / 16))  # so small that nobody notices


def test_nothing_waits_where_no_other_work_was_asked_for_of_late():
    clock = Clock()
    share = Share(0.25, clock=clock)
    assert not any(explained(clock, share, 3600, seconds=1.0, predicting=False))
    share.others_at = clock.now  # what was done before owes nothing
    assert share.waits_s() == 0
    assert explained(clock, share, 2, seconds=0.1)[1] == pytest.approx(0.3 - AT_ONCE_S / 0.25)
    clock.now = share.others_at + RECENT_S + 0.01
    assert (share.waits_s(), share.is_shared) == (0, False)


def test_one_pass_has_room_for_pieces_that_are_small_together_or_for_one():
    clock = Clock()
    share = Share(0.25, clock=clock)
    share.took(0.4 * AT_ONCE_S)
    assert share.has_room(1)
    assert not share.has_room(2)
    share.took(0.4 * AT_ONCE_S)
    assert not share.has_room(1)
    share.passed()
    assert (share.has_room(1), share.has_room(2), share.has_room(3)) == (True, True, False)
    share.took(10 * AT_ONCE_S)
    share.passed()
    assert (share.has_room(1), share.has_room(2)) == (True, False)
    share.others_at = clock.now
    assert not share.has_room(1)  # it lets others go first
    share.n_waiting, share.others_at = 1, -math.inf
    assert not share.has_room(1)


def test_a_turn_is_expected_behind_those_that_wait():
    clock = Clock()
    share = Share(0.5, clock=clock)
    explained(clock, share, 5, seconds=0.1)
    before = share.expected_s()
    share.n_waiting = 10
    assert share.expected_s() - before == pytest.approx(10 * 0.1 / 0.5)
    share.others_at = -math.inf
    assert share.expected_s() == pytest.approx(10 * 0.1)  # of which all is theirs


def test_those_that_wait_count_by_their_rows():
    share = Share(0.5, clock=Clock(), row_s=0.002)
    share.joined(1)
    share.joined(30)
    assert share.expected_s() == pytest.approx(31 * 0.002)
    assert share.expected_s(9) == pytest.approx(40 * 0.002)
    share.turned(0.5, 10)  # with what it let go first
    assert share.expected_s() == pytest.approx(31 * 0.05)
    share.left(30)
    assert share.expected_s() == pytest.approx(0.05)
    share.left(1)
    assert (share.expected_s(), share.n_waiting, share.rows_waiting) == (0, 0, 0)


def test_a_turn_is_expected_to_be_as_long_as_those_before_it_with_what_they_let_go_first():
    share = Share(0.5, clock=Clock())
    share.took(0.001)
    share.n_waiting = 10
    share.turned(0.01)
    assert share.expected_s() == pytest.approx(10 * 0.01)
    share.turned(10)  # the machine had something else to do
    assert share.expected_s() < 10 * 0.02
    for _ in range(200):
        share.turned(0.1)
    assert share.expected_s() == pytest.approx(10 * 0.1, rel=0.01)
