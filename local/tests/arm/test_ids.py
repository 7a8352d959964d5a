"""Two spellings of one resource id have one key."""

from hypothesis import given
from hypothesis import strategies as st

from local.arm import ids

_LETTERS = st.text(st.characters(max_codepoint=0x24F), max_size=30)


@given(_LETTERS)
def test_a_key_folds_letter_by_letter(text: str) -> None:
    """The short way for ids in ASCII gives the key that folding each letter gives."""
    assert ids.key(text) == "".join(map(ids._fold, text.strip("/")))


@given(st.text(st.characters(max_codepoint=0x7F), max_size=30))
def test_ids_in_ascii_compare_without_regard_to_letter_case(text: str) -> None:
    """An id and the same id in capitals name one resource."""
    assert ids.same(text, text.upper())
    assert ids.same(f"/{text}/", text.lower())


def test_a_letter_that_folds_into_ascii_stays_another() -> None:
    """The Kelvin sign and the dotless i name resources other than those of k and i."""
    assert not ids.same("/vm-\N{KELVIN SIGN}", "/vm-k")
    assert not ids.same("/vm-\N{LATIN SMALL LETTER DOTLESS I}", "/vm-i")
