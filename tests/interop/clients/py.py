"""Python client. MODE is `legacy` (initialize) or `auto` (server/discover first).

Does the same steps as drive.mjs and prints the same JSON line.

Usage: py.py PLAN MODE http URL
       py.py PLAN MODE stdio COMMAND [ARG...]
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from mcp import Client, MCPError, StdioServerParameters


async def list_tools(client):
    names, cursor = [], None
    for _ in range(100):
        # `refresh` keeps the SDK's cache out of the way.
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        names += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return names
    raise RuntimeError("tools/list never came to its last page")


def text_of(result):
    return "\n".join(block.text for block in result.content if block.type == "text")


async def drive(client, plan, report, step):
    async def call(tool, args):
        step[0] = f"calling {tool}"
        result = await client.call_tool(tool, args)
        report["calls"].append({"tool": tool, "is_error": bool(result.is_error), "text": text_of(result)})

    async with client:
        report["era_negotiated"] = client.protocol_version

        # A gateway answers before slow upstreams are up, so ask again until all are there.
        step[0] = "listing tools"
        deadline = time.monotonic() + plan["wait_seconds"]
        while True:
            report["tools"] = await list_tools(client)
            if all(each["tool"] in report["tools"] for each in plan["calls"]) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.25)

        for each in plan["calls"]:
            await call(each["tool"], each["args"])

        step[0] = f"calling the unknown tool {plan['unknown']}"
        try:
            result = await client.call_tool(plan["unknown"], {})
            report["unknown"] = {"code": None, "is_error": bool(result.is_error), "message": text_of(result)}
        except MCPError as error:
            report["unknown"] = {"code": error.code, "message": error.message}
        # The error must not have cost the connection.
        await call(plan["calls"][0]["tool"], plan["calls"][0]["args"])
        step[0] = "closing"


def leaves(error):
    """The SDK's task groups wrap errors; the innermost ones tell what happened."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


def main():
    if len(sys.argv) < 5 or sys.argv[3] not in ("http", "stdio"):
        sys.exit("usage: py.py PLAN MODE (http URL | stdio COMMAND [ARG...])")
    plan_file, mode, transport, target, *args = sys.argv[1:]
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    server = target if transport == "http" else StdioServerParameters(command=target, args=args)
    report = {
        "client": "py", "mode": mode, "transport": transport, "era_negotiated": None,
        "tools": [], "calls": [], "unknown": None, "stray_errors": [], "ok": False, "error": None,
    }
    step = ["connecting"]

    # What no request waits for: text on standard output that is no message, a broken stream.
    async def on_message(message):
        if isinstance(message, Exception) and step[0] != "closing":
            report["stray_errors"].append(f"{step[0]}: {type(message).__name__}: {message}")

    timeout = plan["timeout_seconds"]
    client = Client(server, mode=mode, read_timeout_seconds=timeout, message_handler=on_message)
    try:
        asyncio.run(drive(client, plan, report, step))
        report["ok"] = True
    except Exception as error:
        report["error"] = f"{step[0]}: " + "; ".join(f"{type(e).__name__}: {e}" for e in leaves(error))
    print(json.dumps(report), flush=True)
    sys.exit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
