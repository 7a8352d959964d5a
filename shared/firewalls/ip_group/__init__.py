"""IP groups of ours, which rules of the firewall's owner name as their source."""
