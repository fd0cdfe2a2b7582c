"""What the tests of hostile inputs share."""

import pytest


def case(name, *values):
    return pytest.param(*values, id=name)


def cases(**named):
    return [case(name, *(value if isinstance(value, tuple) else (value,)))
            for name, value in named.items()]
