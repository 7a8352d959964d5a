"""IP groups of ours that rules of the firewall's owner name as their source."""
