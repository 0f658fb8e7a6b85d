from __future__ import annotations

from agent.rootcause.templates import Templates


def test_texts_that_share_most_words_are_one_template() -> None:
    a, b, c = Templates().ids(
        ["order of alice was sent", "order of bob was sent", "disk is full of logs now"], learn=True
    )
    assert a == b != c


def test_a_statement_is_its_template_whatever_else_the_line_says() -> None:
    a, b, c = Templates().ids(
        ["INFO x.Y#12 one", "INFO x.Y#12 quite another line", "INFO x.Y#13 one"], learn=True
    )
    assert a == b != c


def test_looking_up_remembers_nothing() -> None:
    templates = Templates()
    templates.ids(["a b c"], learn=False)
    assert templates.state() == Templates().state()


def test_ids_stay_the_same_when_a_template_widens_and_when_it_is_saved() -> None:
    templates = Templates()
    (first,) = templates.ids(["user alice came in today"], learn=True)
    templates.ids(["user bob came in today", "user bob went in today"], learn=True)
    back = Templates.from_state(templates.state())
    assert back.ids(["user alice came in today", "user carol came in today"], learn=False).tolist() == [
        first,
        first,
    ]
