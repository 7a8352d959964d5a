"""Run a Python function app on this machine, through Microsoft's own worker engine.

The engine (azure-functions-runtime) indexes and invokes the functions as in Azure; this package
stands in for the host around it: HTTP, queue and timer triggers, queue outputs, host.json.
Function keys are not enforced, as in `func start`.
"""
