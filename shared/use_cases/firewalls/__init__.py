"""Make one firewall hold what its rows say."""
