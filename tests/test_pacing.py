"""What work is expected to take, from what it took."""

import threading

import pytest

from ekiben.pacing import Pace, Turns, measured

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
