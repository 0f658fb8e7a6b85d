from agent.detection.units import UnitTable
from tests.unit.detection.builders import key


def test_operations_share_the_row_of_their_service() -> None:
    table = UnitTable(10)
    first, second = table.rows(key("a", "x"), 0), table.rows(key("a", "y"), 0)
    assert first[1] == second[1]
    assert sorted(table.children(first[1]).tolist()) == sorted([first[0], second[0]])


def test_the_same_key_has_the_same_rows() -> None:
    table = UnitTable(10)
    assert table.rows(key("a"), 0) == table.rows(key("a"), 5)


def test_silent_operations_are_freed_before_their_service() -> None:
    table = UnitTable(2)
    operation, service = table.rows(key("a"), 0)
    assert table.forget(10).tolist() == [operation]
    assert table.forget(10).tolist() == [service]
    assert min(table.rows(key("b"), 20)) >= 0
