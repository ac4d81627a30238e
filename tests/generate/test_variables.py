"""Variables of a configuration, as others write them."""

from tekton.generate.variables import is_reference, references, written_for


def test_variables_are_written_as_another_tool_writes_them() -> None:
    def reference(name: str, default: str | None) -> str:
        return f"<{name}|{default}>"

    assert written_for("a ${X} ${Y:-z} $$ $b", reference, "$$") == "a <X|None> <Y|z> $$ $$b"


def test_what_a_text_refers_to_is_found_with_its_defaults() -> None:
    assert list(references("a ${X} ${Y:-z} $$ $${NOT} $b ${E:-}")) == [("X", None), ("Y", "z"), ("E", "")]


def test_a_reference_is_a_variable_and_nothing_else() -> None:
    assert [is_reference(text) for text in ("${X}", "${X:-}", "a${X}", "$$", "X")] == [True, True, False, False, False]
