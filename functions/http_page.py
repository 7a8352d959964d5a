"""The page for people: the files of web/, read once, with the headers that keep foreign code out."""

import gzip
import hashlib
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import azure.functions as func

from shared.bootstrap import app
from shared.settings import Settings

WEB = Path(__file__).parents[1] / "web"
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_INDEX = "index.html"
_IMMUTABLE = "public, max-age=31536000, immutable"

bp = func.Blueprint()


@dataclass(frozen=True)
class File:
    """A file as it is sent: whole, and compressed."""

    media_type: str
    plain: bytes
    zipped: bytes


@bp.function_name("ui_page")
@bp.route("ui/{*path}", methods=["GET"])
def ui_page(req: func.HttpRequest) -> func.HttpResponse:
    """Answer a file of the page; the index for the page's own address."""
    path = req.route_params.get("path") or ""
    if path in {"", _INDEX}:
        return _index_answer(req)
    version, _, name = path.partition("/")
    file = files().get(name) if version == content_hash() else None
    if file is None:
        return func.HttpResponse(b"", status_code=HTTPStatus.NOT_FOUND, headers=_headers())
    return _file_answer(req, file, {"Cache-Control": _IMMUTABLE})


@cache
def files() -> Mapping[str, File]:
    """Read and compress every file of the page but the index, once for each process."""
    found = (path for path in sorted(WEB.rglob("*")) if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(WEB).as_posix(): _file(path) for path in found}


def _file(path: Path) -> File:
    media_type = f"{_MEDIA_TYPES[path.suffix]}; charset=utf-8"
    return _packed(media_type, path.read_bytes())


def _packed(media_type: str, content: bytes) -> File:
    return File(media_type, content, gzip.compress(content, mtime=0))


@cache
def content_hash() -> str:
    """Return the hash of all files, which stands in their addresses."""
    digest = hashlib.sha256()
    for name, file in files().items():
        digest.update(f"{name}\0{len(file.plain)}\0".encode())
        digest.update(file.plain)
    return digest.hexdigest()[:16]


@cache
def _index() -> File:
    settings = app().settings
    base = urlsplit(settings.public_url).path
    text = (WEB / _INDEX).read_text(encoding="utf-8")
    text = text.replace("{files}", html.escape(f"{base}/ui/{content_hash()}"))
    text = text.replace("{settings}", html.escape(json.dumps(page_settings(settings))))
    return _packed("text/html; charset=utf-8", text.encode())


def page_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that the page needs before sign-in."""
    scope = settings.token_scope
    return {
        "clientId": settings.page_client_id,
        "authority": f"{settings.page_authority}/{settings.tenant_id}",
        "authorityMetadata": settings.page_authority_metadata,
        "scope": f"{settings.audience[0]}/{scope}",
        "base": urlsplit(settings.public_url).path,
    }


def _index_answer(req: func.HttpRequest) -> func.HttpResponse:
    file = _index()
    etag = f'"{hashlib.sha256(file.plain).hexdigest()[:32]}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if etag in req.headers.get("If-None-Match", ""):
        return func.HttpResponse(
            b"", status_code=HTTPStatus.NOT_MODIFIED, headers=_headers(headers)
        )
    return _file_answer(req, file, headers)


def _file_answer(
    req: func.HttpRequest, file: File, headers: Mapping[str, str]
) -> func.HttpResponse:
    zipped = "gzip" in req.headers.get("Accept-Encoding", "")
    coding = {"Content-Encoding": "gzip"} if zipped else {}
    return func.HttpResponse(
        file.zipped if zipped else file.plain,
        headers={
            **_headers(headers),
            **coding,
            "Content-Type": file.media_type,
            "Vary": "Accept-Encoding",
        },
    )


def _headers(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    return {
        "Content-Security-Policy": content_policy(app().settings),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        **(headers or {}),
    }


def content_policy(settings: Settings) -> str:
    """Return the policy by which a browser runs our own files and calls us and the sign-in alone."""
    sign_in = {_origin(settings.page_authority)}
    if settings.page_authority_metadata:
        sign_in = {_origin(json.loads(settings.page_authority_metadata)["token_endpoint"])}
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self' {' '.join(sign_in)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
