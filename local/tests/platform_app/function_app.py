"""A function app that shows what the platform does; each function shows one thing."""

# ruff: noqa: ARG001  a trigger is a parameter, used or not
import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Event, Thread
from typing import Any, List  # noqa: UP035  the worker engine knows only this spelling

import azure.functions as func
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

SEEN_QUEUE = "platform-seen"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

_log = logging.getLogger("sample")
_late: dict[str, tuple[Event, Thread]] = {}

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def _json(content: object, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(content), status_code=status, mimetype="application/json")


def _record(**seen: object) -> None:
    """Tell the tests, whatever becomes of the invocation."""
    storage = os.environ["AzureWebJobsStorage"]  # noqa: SIM112  the platform's own spelling
    encode = TextBase64EncodePolicy()
    with QueueClient.from_connection_string(
        storage, SEEN_QUEUE, message_encode_policy=encode
    ) as queue:
        queue.send_message(json.dumps({**seen, "at": time.time()}))


@app.route(route="echo", methods=_METHODS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the request as the worker got it."""
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "params": dict(req.params),
            "body": req.get_body().decode("utf-8", errors="replace"),
        }
    )


@app.route(
    route="subscriptions/{subscription}/providers/Microsoft.Sample/items/{name}",
    methods=["GET", "PUT"],
)
def item(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the route parameters."""
    return _json({"route": dict(req.route_params), "url": req.url})


@app.route(route="numbers/{number:int}", methods=["GET"])
def number(req: func.HttpRequest) -> func.HttpResponse:
    """Take integers only."""
    return _json({"route": dict(req.route_params)})


@app.route(route="maybe/{part?}", methods=["GET"])
def maybe(req: func.HttpRequest) -> func.HttpResponse:
    """Take a part or none."""
    return _json({"route": dict(req.route_params)})


@app.route(route="order/{name}", methods=["GET"])
def order_a_parameter(req: func.HttpRequest) -> func.HttpResponse:
    """Come first by name."""
    return _json({"function": "order_a_parameter"})


@app.route(route="order/literal", methods=["GET"])
def order_b_literal(req: func.HttpRequest) -> func.HttpResponse:
    """Come second by name, so never."""
    return _json({"function": "order_b_literal"})


@app.route(route="zz/{*path}", methods=["GET", "POST"])
def zz_catch_all(req: func.HttpRequest) -> func.HttpResponse:
    """Take what no function before it takes."""
    return _json({"error": {"code": "NotFound"}, "route": dict(req.route_params)}, 404)


@app.route(route="zz/known", methods=["GET"])
def known(req: func.HttpRequest) -> func.HttpResponse:
    """Lie inside the catch-all."""
    return _json({"function": "known"})


@app.route(route="answer/headers", methods=["GET"])
def answer_headers(req: func.HttpRequest) -> func.HttpResponse:
    """Set headers that matter to clients."""
    headers = {"Location": "http://example.test/1", "Retry-After": "7", "Set-Cookie": "a=b; Path=/"}
    return func.HttpResponse("{}", status_code=202, headers=headers, mimetype="application/json")


@app.route(route="answer/text", methods=["GET"])
def answer_text(req: func.HttpRequest) -> str:
    """Return a text."""
    return "plain text"


@app.route(route="answer/none", methods=["GET"])
def answer_none(req: func.HttpRequest):  # type: ignore[no-untyped-def]  # `-> None` would not index
    """Return nothing."""


@app.route(route="answer/dict", methods=["GET"])
def answer_dict(req: func.HttpRequest):  # type: ignore[no-untyped-def]  # `-> dict` would not index
    """Return what is neither text nor response."""
    return {"a": 1}


@app.route(route="answer/empty", methods=["GET"])
def answer_empty(req: func.HttpRequest) -> func.HttpResponse:
    """Return a status that has no body."""
    return func.HttpResponse("ignored", status_code=204)


@app.route(route="answer/error", methods=["GET"])
def answer_error(req: func.HttpRequest) -> func.HttpResponse:
    """Fail."""
    raise RuntimeError("the function failed on purpose")


@app.route(route="log/threads", methods=["GET"])
def log_threads(req: func.HttpRequest) -> func.HttpResponse:
    """Log in this thread, in a thread with its context, in one without, and in one that outlasts it."""
    name = req.params["name"]
    _log.debug("debug %s", name)
    _log.info("same thread %s", name)
    _log.error("error %s", name)
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(_log.error, "pool thread %s", name).result()
        pool.submit(copy_context().run, _log.info, "handed on %s", name).result()
    late = Thread(target=copy_context().run, args=(_log_when_told, name), daemon=True)
    _late[name] = (Event(), late)
    late.start()
    return _json({})


@app.route(route="log/late", methods=["GET"])
def log_late(req: func.HttpRequest) -> func.HttpResponse:
    """Let the thread that outlasted its invocation log."""
    told, late = _late.pop(req.params["name"])
    told.set()
    late.join()
    return _json({})


def _log_when_told(name: str) -> None:
    _late[name][0].wait()
    _log.error("after the invocation %s", name)


@app.route(route="answer/slow", methods=["GET"])
def answer_slow(req: func.HttpRequest) -> func.HttpResponse:
    """Take as long as asked."""
    time.sleep(float(req.params["seconds"]))
    return _json({"slept": req.params["seconds"]})


@app.route(route="enqueue", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="Platform-Work", connection="AzureWebJobsStorage")
def enqueue(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    """Put the body on the work queue by an output binding."""
    out.set(req.get_body().decode())
    return _json({}, 202)


@app.route(route="enqueue/many", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="platform-work", connection="AzureWebJobsStorage")
def enqueue_many(req: func.HttpRequest, out: func.Out[List[str]]) -> func.HttpResponse:  # noqa: UP006
    """Put each line of the body on the work queue."""
    out.set(req.get_body().decode().splitlines())
    return _json({}, 202)


@app.route(route="keep", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="platform-kept", connection="AzureWebJobsStorage")
def keep(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    """Put the body on a queue without a listener."""
    out.set(req.get_body().decode())
    return _json({}, 202)


@app.queue_trigger(arg_name="msg", queue_name="%PLATFORM_QUEUE%", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage) -> Any:
    """Do what the message says."""
    text = msg.get_body().decode()
    try:
        order = json.loads(text)
    except ValueError:
        order = {"name": text}
    _record(
        function="work",
        name=order.get("name"),
        body=text,
        id=msg.id,
        count=msg.dequeue_count,
        expires=str(msg.expiration_time),
    )
    time.sleep(order.get("sleep", 0))
    if order.get("do") == "fail" and msg.dequeue_count <= order.get("times", 99):
        raise RuntimeError("the message failed on purpose")
    if order.get("do") == "return":
        return "a value without a $return binding"
    _record(function="work done", name=order.get("name"), body=text)
    return None


@app.queue_trigger(
    arg_name="msg", queue_name="platform-work-poison", connection="AzureWebJobsStorage"
)
def work_poison(msg: func.QueueMessage) -> None:
    """See what was given up."""
    text = msg.get_body().decode()
    _record(function="work_poison", body=text, count=msg.dequeue_count)
    if "fail in poison" in text:
        raise RuntimeError("the poison handler failed on purpose")


@app.queue_trigger(arg_name="msg", queue_name="platform-late", connection="AzureWebJobsStorage")
def late(msg: func.QueueMessage) -> None:
    """Listen to a queue that does not exist when the host starts."""
    _record(function="late", body=msg.get_body().decode())


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def yearly(timer: func.TimerRequest) -> None:
    """Run by hand."""
    _record(
        function="yearly", past_due=timer.past_due, status=getattr(timer, "schedule_status", None)
    )


@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
def every_second(timer: func.TimerRequest) -> None:
    """Take longer than the interval."""
    _record(function="every_second begins", past_due=timer.past_due)
    time.sleep(1.2)
    _record(function="every_second ends")


@app.timer_trigger(arg_name="timer", schedule="%PLATFORM_SETTING_THAT_IS_MISSING%")
def broken(timer: func.TimerRequest) -> None:
    """Have a listener that cannot start."""
