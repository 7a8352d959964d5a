"""The schemas of all answers, by the name that operations refer to them by."""

from functions.schemas import dry_runs, errors, policies, reports, requests
from functions.schemas.base import Schema

SCHEMAS: dict[str, Schema] = {
    **errors.SCHEMAS,
    **policies.SCHEMAS,
    **requests.SCHEMAS,
    **dry_runs.SCHEMAS,
    **reports.SCHEMAS,
}
