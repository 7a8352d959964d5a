"""Azure Firewall with classic rules."""
