"""Keep JIT policies and apply them to the firewalls in front of their VMs."""
