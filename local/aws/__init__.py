"""A simulator of Amazon EC2's security groups and of AWS STS, over HTTP or in this process."""
