"""EC2 security groups: a group of our own for each instance, foreign groups narrowed on request."""
