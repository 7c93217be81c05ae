"""Configs with entries that nobody expects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers import catalogue

JUNK = st.one_of(st.text(), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.complex_numbers())


def scalars(layer):
    """Returns the names of the entries of a config that are numbers or Booleans of our own."""
    theirs = super(type(layer), layer).get_config() if type(layer).__module__.startswith("keras.") else {}
    base = {"name", "trainable", "dtype"}
    return [k for k, v in layer.get_config().items() if isinstance(v, bool | int | float) and k not in {*base, *theirs}]


@given(st.sampled_from(catalogue.ENTRIES), st.data())
def test_wrong_entry_is_refused_by_name(entry, data):
    layer = entry.make()
    names = scalars(layer) if type(layer).__init__.__module__.startswith("keras_norms") else []
    if not names:
        return
    name, junk = data.draw(st.sampled_from(names)), data.draw(JUNK)
    with pytest.raises((TypeError, ValueError)) as refused:
        type(layer).from_config({**layer.get_config(), name: junk})
    message = str(refused.value).split("Exception encountered: ")[-1]
    assert f"`{name}`" in message
    assert repr(junk) in message


@given(st.sampled_from(catalogue.ENTRIES), st.from_regex(r"[a-z_]{1,12}x", fullmatch=True))
def test_unknown_entry_is_refused_by_name(entry, name):
    layer = entry.make()
    with pytest.raises((TypeError, ValueError)) as refused:
        type(layer).from_config({**layer.get_config(), name: 1})
    assert name in str(refused.value).split("Exception encountered: ")[-1]
