"""The app's identities in Azure: managed, so that there is no secret to keep."""

from azure.core.credentials import TokenCredential
from azure.identity import ManagedIdentityCredential


def managed_identity(client_id: str) -> TokenCredential:
    """Return a user-assigned identity, or the system's own where no client id is given."""
    return ManagedIdentityCredential(client_id=client_id or None)
