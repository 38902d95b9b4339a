"""Compares what the suite and a server said to each other in two recordings.

A recording is made normal first: what two servers may do differently, or what a server draws by
chance, gets a fixed name. README.md lists the rules; each has its place here.
"""

import json
import re
from collections import defaultdict

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
# Of a request, what a server may look at; of an answer, what a client may look at.
ASKED = ["accept", "content-type", "host", "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "origin"]


def load(file):
    """The records of a file, in the order in which the requests came."""
    if not file.exists():
        return []
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return sorted(records, key=lambda record: record["number"])


def messages(record):
    """The JSON-RPC messages of an answer, however they are framed."""
    text = record["answer"]
    if "text/event-stream" in record["answerHeaders"].get("content-type", ""):
        found = []
        for event in re.split(r"\r?\n\r?\n", text):
            data = [line[5:].removeprefix(" ") for line in event.splitlines() if line.startswith("data:")]
            if data and "".join(data).strip():
                found.append("\n".join(data))
    else:
        found = [text] if text.strip() else []
    return [parsed(each) for each in found]


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        # A text for people, such as "Not Found".
        return "<text>"


class Normal:
    """One exchange, made normal. `tasks` are the tasks that the server has begun before, by their
    ids, and gets those that it begins here."""

    def __init__(self, record, prefix, tasks):
        self.prefix = prefix
        self.record = record
        self.tasks = tasks
        self.own = None
        asked = parsed(record["body"]) if record["body"] else None
        method = ""
        if isinstance(asked, dict) and "method" in asked:
            self.own, method = asked.get("id"), asked["method"]
        self.about_task = method.startswith("tasks/")
        # Before a legacy client knows of any tool, it is told whether calls can be tasks.
        self.greets = method == "initialize"
        self.polls = method == "tasks/get"
        for message in messages(record):
            result = message.get("result") if isinstance(message, dict) else None
            if isinstance(result, dict) and result.get("resultType") == "task":
                tasks.setdefault(result.get("taskId"), f"<task {len(tasks) + 1}>")
        self.request = {
            "http": f"{record['method']} {record['path']}",
            "headers": {name: self.named(record["headers"][name]) for name in ASKED if name in record["headers"]},
            "in a session": "mcp-session-id" in record["headers"],
            "body": self.message(asked, ours=True),
        }
        self.request["headers"].update(
            {name: value for name, value in record["headers"].items() if name.startswith("mcp-param-")}
        )
        if "last-event-id" in self.request["headers"]:
            self.request["headers"]["last-event-id"] = "<event>"
        refused = record["status"] >= 400
        status = record["status"]
        if record["method"] == "DELETE" and 200 <= status < 300:
            status = "2xx"
        answers = [self.message(each, refused=refused) for each in messages(record)]
        # In a session a server may choose the stream for what belongs to no single request.
        self.loose = [each for each in answers if self.request["in a session"] and is_loose(each)]
        self.answer = {
            "status": status,
            "opens a session": "mcp-session-id" in record["answerHeaders"],
            "messages": [each for each in answers if each not in self.loose],
        }

    def in_words(self):
        """Is it a refusal with a text for people?"""
        return self.record["status"] >= 400 and "<text>" in self.answer["messages"]

    def key(self):
        return json.dumps(self.request, sort_keys=True)

    def message(self, message, ours=False, refused=False):
        if not isinstance(message, dict):
            return message
        message = self.value(message)
        if "id" in message:
            # A client's id must come back as it was; a server's id is its own business.
            mine = message["id"] == self.own and type(message["id"]) is type(self.own)
            asks = "method" in message
            if ours:
                message["id"] = "<id>" if asks else "<id of the server>"
            elif asks:
                message["id"] = "<id of the server>"
                # For progress that a client could report; the SDK always adds it.
                meta = message.get("params", {}).get("_meta", {})
                meta.pop("progressToken", None)
                if meta == {}:
                    message.get("params", {}).pop("_meta", None)
            elif mine:
                message["id"] = "<id>"
        if (refused or self.about_task) and isinstance(message.get("error"), dict):
            # Refused for its form, or for a task that nobody knows, each server in its own words.
            message["error"].pop("message", None)
        return message

    def value(self, value, key=None):
        if isinstance(value, list):
            return [self.value(each) for each in value if not self.seconds(each)]
        if not isinstance(value, dict):
            return self.leaf(value, key)
        changed = {}
        for name, each in value.items():
            if name in ("serverInfo", META + "serverInfo") or (name == "instructions" and "capabilities" in value):
                continue
            if name == "tasks" and key == "capabilities" and self.greets:
                continue
            if name == "resultType" and each == "complete":
                continue
            if name == "ttlMs" and isinstance(each, int) and each >= 0:
                each = "<ms>"
            if name in ("supportedVersions", "supported") and isinstance(each, list) and MODERN in each:
                each = [MODERN]
            if name == META + "subscriptionId" and each == self.own and type(each) is type(self.own):
                each = "<id>"
            each = self.value(each, name)
            if name == "_meta" and each == {}:
                continue
            changed[name] = each
        return changed

    def leaf(self, value, key):
        if key in ("createdAt", "lastUpdatedAt") and isinstance(value, str):
            return "<time>"
        if key == "taskId":
            return self.named(value)
        if key == "requestState" and isinstance(value, str):
            # The suite appends to a state to see it refused.
            return "<state>" + ("-TAMPERED" if value.endswith("-TAMPERED") else "")
        return value

    def named(self, value):
        """A value that may be the id of a task, which each server draws."""
        return self.tasks.get(value, value) if isinstance(value, str) else value

    def seconds(self, item):
        """Is this an item of a list that the second upstream brings?"""
        return isinstance(item, dict) and isinstance(item.get("name"), str) and item["name"].startswith(self.prefix)


def is_loose(message):
    """Is it a notification that names no request?"""
    method = message.get("method", "") if isinstance(message, dict) and "id" not in message else ""
    return method.startswith("notifications/") and method != "notifications/progress"


def differences(direct, through, prefix):
    """Every difference, as (scenario, text), after making both recordings normal."""
    found = []
    by_scenario = [defaultdict(list), defaultdict(list)]
    for side, records in zip(by_scenario, (direct, through)):
        tasks = defaultdict(dict)
        for record in records:
            scenario = record["scenario"]
            each, before = Normal(record, prefix, tasks[scenario]), side[scenario]
            # How often a task is asked for until it is where it is awaited is chance.
            if each.polls and before and before[-1].key() == each.key():
                before.pop()
            before.append(each)
    for scenario in sorted(by_scenario[0].keys() | by_scenario[1].keys()):
        found += [(scenario, text) for text in pair(by_scenario[0][scenario], by_scenario[1][scenario])]
    return found


def pair(direct, through):
    """Requests are paired by what they ask, for some are sent at once and arrive in any order."""
    waiting = defaultdict(list)
    for each in through:
        waiting[each.key()].append(each)
    found = []
    for left in direct:
        same = waiting[left.key()]
        if not same:
            found.append(f"asked only directly: {short(left.request)}")
            continue
        right = same.pop(0)
        what = left.request["body"].get("method", "an answer") if isinstance(left.request["body"], dict) else ""
        if not (left.record.get("ended", True) and right.record.get("ended", True)):
            # The client left before the end on one side: what both have said must be the same.
            heard = min(len(left.answer["messages"]), len(right.answer["messages"]))
            for side in (left, right):
                del side.answer["messages"][heard:]
        if left.in_words() or right.in_words():
            left.answer.pop("messages")
            right.answer.pop("messages")
        for path, one, other in walk(left.answer, right.answer, ""):
            if path.endswith(".cacheScope") and (one, other) == ("public", "private"):
                continue
            found.append(f"{left.request['http']} {what}: {path.lstrip('.')}: {short(one)} became {short(other)}")
    for rest in waiting.values():
        found += [f"asked only through waypost: {short(each.request)}" for each in rest]
    return found + loose(direct, through)


def loose(direct, through):
    """Notifications that only one side has, whichever stream they came on."""
    sides = [[json.dumps(each, sort_keys=True) for normal in side for each in normal.loose] for side in (direct, through)]
    found = []
    for one, other, where in [(*sides, "directly"), (*reversed(sides), "through waypost")]:
        rest = list(other)
        for each in one:
            if each in rest:
                rest.remove(each)
            else:
                found.append(f"came only {where}: {each[:400]}")
    return found


MISSING = object()


def walk(one, other, path):
    """The places where two values differ, as (path, one, other)."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from walk(one.get(key, MISSING), other.get(key, MISSING), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (left, right) in enumerate(zip(one, other)):
            yield from walk(left, right, f"{path}[{at}]")
    elif one is MISSING or other is MISSING or one != other or type(one) is not type(other):
        yield path, one, other


def short(value, most=400):
    text = "nothing" if value is MISSING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[:most] + "…"
