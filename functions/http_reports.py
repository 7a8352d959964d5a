"""What the app says of itself, and the answer to every path it does not have."""

from http import HTTPStatus

import azure.functions as func

from functions.web import answer, envelope, handled

bp = func.Blueprint()
_ALL = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@bp.function_name("unknown_route")
@bp.route("{*path}", methods=_ALL)
@handled
def unknown_route(req: func.HttpRequest) -> func.HttpResponse:
    """Answer what no other route takes, in ARM's envelope."""
    message = f"There is no {req.method} here; see docs/api.md for the routes."
    return answer(HTTPStatus.NOT_FOUND, envelope("NotFound", message))
