"""Python client. MODE is `legacy` (initialize) or `auto` (server/discover first).

Does the same steps as drive.mjs and prints the same JSON line.

Usage: py.py PLAN MODE http|sse URL
       py.py PLAN MODE stdio COMMAND [ARG...]
"""

import asyncio
import contextlib
import json
import sys
import time
import warnings
from pathlib import Path

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.types import CreateMessageResult, ElicitResult, PromptReference, ResourceTemplateReference, TextContent

MODERN = "2026-07-28"
AGAIN = 0.25  # seconds until lists that are not complete yet are asked for again
LOOK = 0.02  # seconds between two looks at whether notices came
PAGES = 100
# The SDK's method for each list, where its page has the items, and how an item is called.
LISTS = {
    "tools": ("list_tools", "tools", "name"),
    "prompts": ("list_prompts", "prompts", "name"),
    "resources": ("list_resources", "resources", "uri"),
    "templates": ("list_resource_templates", "resource_templates", "uri_template"),
}
NOTICES = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}


async def list_all(client, kind):
    method, member, name = LISTS[kind]
    items, cursor = [], None
    for _ in range(PAGES):
        # `refresh` keeps the SDK's cache out of the way.
        page = await getattr(client, method)(cursor=cursor, cache_mode="refresh")
        items += [str(getattr(item, name)) for item in getattr(page, member)]
        cursor = page.next_cursor
        if cursor is None:
            return items
    raise RuntimeError(f"{method} never came to its last page")


async def list_kinds(client, kinds):
    return {kind: await list_all(client, kind) for kind in kinds}


def raw(result):
    """A result as it stands on the wire."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


class Steps:
    """One method for each kind of step."""

    def __init__(self, client, plan, told):
        self.client, self.plan, self.told = client, plan, told

    async def call(self, step):
        return {"result": raw(await self.client.call_tool(step["tool"], step["args"]))}

    async def read(self, step):
        return {"result": raw(await self.client.read_resource(step["uri"], cache_mode="refresh"))}

    async def prompt(self, step):
        return {"result": raw(await self.client.get_prompt(step["prompt"], step["args"]))}

    async def complete(self, step):
        ref = step["params"]["ref"]
        kind = PromptReference if ref["type"] == "ref/prompt" else ResourceTemplateReference
        context = step["params"].get("context", {}).get("arguments")
        result = await self.client.complete(kind.model_validate(ref), step["params"]["argument"], context)
        return {"result": raw(result)}

    async def follow(self, step):
        """Calls a tool and reads what its answer links to."""
        result = raw(await self.client.call_tool(step["tool"], step["args"]))
        links = [block["uri"] for block in result["content"] if block["type"] == "resource_link"]
        return {"result": result, "reads": [(await self.read({"uri": uri}))["result"] for uri in links]}

    async def progress(self, step):
        notes = []

        async def note(progress, total, _message):
            notes.append([progress, total])

        result = await self.client.call_tool(step["tool"], step["args"], progress_callback=note)
        return {"result": raw(result), "notes": notes}

    async def watch(self, step):
        """Calls a tool that changes something, and counts what is told until all is quiet."""
        async with self.watching(step["kinds"], step["uri"]):
            self.told.clear()
            result = await self.client.call_tool(step["tool"], step["args"])
            deadline = time.monotonic() + self.plan["told_seconds"]
            while not all(what in self.told for what in step["told"]) and time.monotonic() < deadline:
                await asyncio.sleep(LOOK)
            lists = await list_kinds(self.client, step["kinds"])
            await asyncio.sleep(self.plan["quiet_seconds"])
            return {"result": raw(result), "told": dict(self.told), "lists": lists}

    @contextlib.asynccontextmanager
    async def watching(self, kinds, uri):
        """Asks for notices, where asking is needed."""
        if self.client.protocol_version == MODERN:
            uris = [uri] if uri else []
            wanted = {f"{kind}_list_changed": True for kind in kinds}
            async with self.client.listen(**wanted, resource_subscriptions=uris):
                yield
            return
        # Changes of lists come unasked.
        if uri:
            await self.client.subscribe_resource(uri)
        try:
            yield
        finally:
            if uri:
                await self.client.unsubscribe_resource(uri)


async def drive(client, plan, report, step, told):
    async with client:
        report["era_negotiated"] = client.protocol_version

        # A gateway answers before slow upstreams are up, so ask again until all are there.
        step[0] = "listing"
        began = time.monotonic()
        while True:
            report["lists"] = lists = await list_kinds(client, plan["listed"])
            missing = any(set(names) - set(lists[kind]) for kind, names in plan["listed"].items())
            if not missing or time.monotonic() > began + plan["wait_seconds"]:
                break
            await asyncio.sleep(AGAIN)

        # An error must not cost the connection, so each is noted, and the next step is taken.
        steps = Steps(client, plan, told)
        for each in plan["steps"]:
            step[0] = each["title"]
            if time.monotonic() > began + plan["steps_seconds"]:
                raise TimeoutError("no time is left for this step")
            try:
                report["steps"].append(await getattr(steps, each["do"])(each))
            except MCPError as error:
                report["steps"].append({"error": {"code": error.code, "message": error.message}})
            except Exception as error:
                report["steps"].append({"error": {"code": None, "message": describe(error)}})
        step[0] = "closing"


def describe(error):
    """The SDK's task groups wrap errors; the innermost ones tell what happened."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"


def main():
    if len(sys.argv) < 5 or sys.argv[3] not in ("http", "sse", "stdio"):
        sys.exit("usage: py.py PLAN MODE (http|sse URL | stdio COMMAND [ARG...])")
    # Subscribing is deprecated, and what a legacy client has.
    warnings.simplefilter("ignore", DeprecationWarning)
    plan_file, mode, transport, target, *args = sys.argv[1:]
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    server = {
        "http": lambda: target,
        "sse": lambda: sse_client(target),
        "stdio": lambda: StdioServerParameters(command=target, args=args),
    }[transport]()
    report = {
        "client": "py", "mode": mode, "transport": transport, "era_negotiated": None,
        "lists": {}, "steps": [], "stray_errors": [], "ok": False, "error": None,
    }
    step, told = ["connecting"], {}

    # What no request waits for: notices; text on standard output that is no message, a broken stream.
    async def on_message(message):
        if isinstance(message, Exception):
            if step[0] != "closing":
                report["stray_errors"].append(f"{step[0]}: {type(message).__name__}: {message}")
            return
        what = NOTICES.get(message.method)
        if message.method == "notifications/resources/updated":
            what = f"updated {message.params.uri}"
        if what:
            told[what] = told.get(what, 0) + 1

    # What the user and the model answer.
    async def elicited(_context, _params):
        return ElicitResult(action="accept", content={"name": plan["user"]})

    async def sampled(_context, params):
        asked = params.messages[0].content
        text = (asked[0] if isinstance(asked, list) else asked).text
        content = TextContent(type="text", text=f"I was asked: {text}")
        return CreateMessageResult(role="assistant", model="interop", stop_reason="endTurn", content=content)

    client = Client(
        server, mode=mode, read_timeout_seconds=plan["timeout_seconds"], message_handler=on_message,
        elicitation_callback=elicited, sampling_callback=sampled,
    )
    try:
        asyncio.run(drive(client, plan, report, step, told))
        report["ok"] = True
    except Exception as error:
        report["error"] = f"{step[0]}: {describe(error)}"
    print(json.dumps(report), flush=True)
    sys.exit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
