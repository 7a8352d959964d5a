"""The host tries routes by function name, so the catch-all has to come last."""

from function_app import app


def test_the_catch_all_is_tried_last() -> None:
    """No HTTP function sorts after the one that takes every path (host source 4.1037)."""
    names = sorted(
        (
            str(built.get_function_name())
            for builder in app._function_builders
            if (built := builder._function).is_http_function()
        ),
        key=str.lower,
    )
    assert names[-1] == "unknown_route"
    assert len(names) > 10
