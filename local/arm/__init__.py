"""A simulator of the parts of Azure Resource Manager that the product uses."""
