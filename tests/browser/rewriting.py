"""Answers of the app that are changed on their way to the browser."""

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route

API = "**/api/**"
POLICIES = "**/subscriptions/**"


def replace_texts(page: Page, texts: dict[str, str]) -> None:
    """Have every answer of the API say other names, as if the things were called so."""

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            for text, other in texts.items():
                value = value.replace(text, other)
            return value
        if isinstance(value, list):
            return [replaced(each) for each in value]
        if isinstance(value, dict):
            return {key: replaced(each) for key, each in value.items()}
        return value

    change_answers(page, API, replaced)
    change_answers(page, POLICIES, replaced)


def change_answers(page: Page, pattern: str, change: Callable[[Any], Any]) -> None:
    """Change the JSON of every answer to the addresses of a pattern."""

    def handle(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps(change(answer.json())))

    page.route(pattern, handle)
