"""The live suite: deploy into a subscription, measure what only Azure can show, remove everything."""
