from __future__ import annotations

import shlex

import msgspec
import pytest

from agent.recommendations import advise, recommend
from agent.rootcause.answer import Answer, Cause, CauseKind, Verdict

CAUSE = Cause(1, "cart", "cart-7f-x", CauseKind.ERRORS, "GET /cart", 0.9, "fails", ())


def kind(of: CauseKind) -> Cause:
    return msgspec.structs.replace(CAUSE, kind=of)


@pytest.mark.parametrize("of", list(CauseKind))
def test_every_kind_of_cause_has_something_to_do(of: CauseKind) -> None:
    found = recommend(kind(of))
    assert found
    assert all(r.action.endswith(".") and r.why.endswith(".") for r in found)


def test_a_bad_deploy_is_rolled_back_first() -> None:
    assert recommend(kind(CauseKind.BAD_DEPLOY))[0].command == "kubectl rollout undo deployment/cart"


def test_a_slow_query_is_explained_by_name() -> None:
    slow = msgspec.structs.replace(kind(CauseKind.SLOW_DATABASE), operation="SELECT shop")
    assert "`SELECT shop`" in recommend(slow)[0].action


@pytest.mark.parametrize(
    "name", ["x; rm -rf /", "$(reboot)", "a b", "`id`", "--all", "a\nb", "'", "x" * 10_000]
)
@pytest.mark.parametrize("of", list(CauseKind))
def test_a_name_cannot_become_a_command(of: CauseKind, name: str) -> None:
    evil = Cause(1, name, name, of, name, 1.0, "", ())
    for found in recommend(evil):
        assert "\n" not in found.command
        assert len(found.command) < 3000
        words = shlex.split(found.command)
        assert not any(word in ("rm", "reboot", "-rf", "--all", "id") for word in words)


def test_advises_on_every_cause_of_an_answer() -> None:
    answer = Answer("why?", Verdict.CAUSE, "s", 0.9, "", 0.0, 1.0, (CAUSE, kind(CauseKind.CPU)))
    assert [len(c.recommendations) > 0 for c in advise(answer).causes] == [True, True]
