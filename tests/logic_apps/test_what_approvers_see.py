"""The texts that the approval workflow shows to approvers: all of it, as plain text."""

import json

import pytest

from tests.logic_apps.people import ALICE, BOB, NAMES, People, ScriptedApp, engine

PAGE = "https://jit.example/ui/"
NOTICE = {"requestId": "0123456789abcdef01234567-8236178123456abcdef01"}


def _told(app: ScriptedApp, channel: str) -> tuple[People, str]:
    people = People((BOB, "Approve"))
    body = {"event": "approvalRequested", "isExtension": False, **NOTICE}
    engine("approval", app, people, channel).run(body, {})
    return people, json.dumps([people.mails, people.cards])


@pytest.mark.parametrize("channel", ["outlook", "teams"])
def test_mail_and_card_show_what_is_approved(channel: str) -> None:
    """VM with resource group, port, protocol, source, length, reason and requestor."""
    _, told = _told(ScriptedApp(), channel)
    for each in (
        "app-1 (resource group app-rg): port 22, TCP, from 203.0.113.7, for 30 minutes",
        "INC-4711",
        NAMES[ALICE],
    ):
        assert each in told


@pytest.mark.parametrize("channel", ["outlook", "teams"])
def test_mail_and_card_show_break_glass(channel: str) -> None:
    """A longer end of an access that was opened by break-glass says so."""
    app = ScriptedApp(status="Initiated")
    app.longer_end = "2026-11-22T18:00:00Z"
    app.summary = ("opened by break-glass, without approval", *(app.summary or ()))
    _, told = _told(app, channel)
    assert "opened by break-glass" in told
    assert "2026-11-22T18:00:00Z" in told


@pytest.mark.parametrize("channel", ["outlook", "teams"])
def test_an_app_of_the_version_before_is_shown_by_its_machines(channel: str) -> None:
    """Without a summary in the answer the names of the machines are shown, as before."""
    app = ScriptedApp()
    app.summary = None
    _, told = _told(app, channel)
    assert "app-1" in told


def test_markup_is_shown_as_text() -> None:
    """Nothing of a requestor's text is read as markup, in the summary neither."""
    for channel in ("outlook", "teams"):
        app = ScriptedApp()
        app.justification = "<b>go</b> [click](https://evil.example) **now**"
        app.summary = ("<i>vm</i> [vm](https://evil.example)",)
        people, _ = _told(app, channel)
        for mail in people.mails:
            assert "<b>" not in mail["Body"]
            assert "<i>" not in mail["Body"]
        for card in people.cards:
            plain = [part for part in card["body"] if part["type"] != "RichTextBlock"]
            assert "evil.example" not in json.dumps(plain)
            assert "evil.example" in json.dumps(card["body"])


@pytest.mark.parametrize("channel", ["outlook", "teams"])
def test_mail_and_card_link_to_the_request_in_the_page(channel: str) -> None:
    """Where the page is set up, the request's own address in it is linked."""
    app = ScriptedApp()
    people = People((BOB, "Approve"))
    body = {"event": "approvalRequested", "isExtension": False, **NOTICE}
    engine("approval", app, people, channel, page=PAGE).run(body, {})
    told = json.dumps([people.mails, people.cards])
    assert f"{PAGE}#/requests/{NOTICE['requestId']}" in told


@pytest.mark.parametrize("channel", ["outlook", "teams"])
def test_without_the_page_nothing_is_linked(channel: str) -> None:
    """Where the page is not set up, mail and card name no address of it."""
    _, told = _told(ScriptedApp(), channel)
    assert "#/requests/" not in told
    assert "Open the request" not in told
