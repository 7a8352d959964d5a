"""Make the tables and queues that infra makes in Azure."""

from shared.adapters.queues import AzureQueues
from shared.adapters.tables import AzureTables


def prepare(connection: str) -> None:
    """Make the app's tables and queues in an empty storage account."""
    AzureTables.connect(connection, None).create()
    AzureQueues.connect(connection, None).create()
