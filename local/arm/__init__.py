"""A simulator of the parts of Azure Resource Manager that the product uses.

Where a comment says [recorded], the behaviour is in a recorded exchange with the real service:
Azure/azure-xplat-cli @e0413609 (api-version 2017-10-01), Azure/azure-libraries-for-java @af84d032
(2019-11-01). `local/tests/recordings` replays them. Other comments name the public issue they quote
and a comment with neither says that it is from memory, or that no record was found.
"""
