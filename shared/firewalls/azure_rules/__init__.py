"""Parts that the three providers for Azure Firewall share: rules, order, entry ports, discovery."""
