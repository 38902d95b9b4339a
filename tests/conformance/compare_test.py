"""The comparer must see what differs, and nothing else: `run` begins with these tests."""

import copy
import json
import unittest

import compare

META = compare.META
ASKED = {
    "jsonrpc": "2.0", "id": 7, "method": "tools/call",
    "params": {"name": "t", "_meta": {"progressToken": "mine"}},
}
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "mine", "progress": 1}}
ANSWER = {"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": "a"}], "resultType": "complete"}}


def record(asked=ASKED, answers=(PROGRESS, ANSWER), status=200, events=True, number=0):
    if events:
        answer = "".join(f"event: message\ndata: {json.dumps(each)}\n\n" for each in answers)
        kind = "text/event-stream"
    else:
        answer, kind = "".join(json.dumps(each) for each in answers), "application/json"
    return {
        "scenario": "s", "number": number, "method": "POST", "path": "/mcp", "headers": {"accept": "*/*"},
        "body": json.dumps(asked), "status": status, "answer": answer, "answerHeaders": {"content-type": kind},
    }


def changed(message, path, value):
    message = copy.deepcopy(message)
    at = message
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return message


class Compare(unittest.TestCase):
    def same(self, direct, through):
        self.assertEqual(compare.differences([direct], [through], "second__"), [])

    def differ(self, direct, through, part):
        found = compare.differences([direct], [through], "second__")
        self.assertTrue(any(part in text for _, text in found), found)

    def result(self, one, other):
        return [record(answers=[{"jsonrpc": "2.0", "id": 7, "result": each}], events=False) for each in (one, other)]

    def test_equal_recordings_are_equal(self):
        self.same(record(), record())

    def test_framing_is_not_compared_but_messages_are(self):
        self.same(record(answers=[ANSWER]), record(answers=[ANSWER], events=False))
        self.differ(record(), record(answers=[ANSWER]), "messages")
        self.differ(record(), record(answers=[ANSWER, PROGRESS]), "messages")

    def test_what_a_gateway_may_do(self):
        self.same(*self.result({"a": 1, "_meta": {META + "serverInfo": {"name": "a"}}}, {"a": 1}))
        self.same(*self.result({"a": 1, "resultType": "complete"}, {"a": 1}))
        self.same(*self.result({"ttlMs": 1}, {"ttlMs": 2}))
        self.same(*self.result({"cacheScope": "public"}, {"cacheScope": "private"}))
        self.same(*self.result({"instructions": "a", "capabilities": {}}, {"capabilities": {}}))
        self.same(*self.result({"requestState": "x"}, {"requestState": "y"}))
        listed = {"tools": [{"name": "t"}]}
        self.same(*self.result(listed, {"tools": [{"name": "t"}, {"name": "second__t"}]}))

    def test_a_gateway_offers_tasks_in_its_hello(self):
        hello = {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {}}
        both = [
            record(asked=hello, answers=[{"jsonrpc": "2.0", "id": 7, "result": {"capabilities": each}}], events=False)
            for each in ({"tools": {}}, {"tools": {}, "tasks": {}})
        ]
        self.same(*both)
        self.differ(*self.result({"capabilities": {}}, {"capabilities": {"tasks": {}}}), "tasks")

    def test_what_a_gateway_may_not_do(self):
        self.differ(*self.result({"a": 1}, {"a": 1.0}), "result.a")
        self.differ(*self.result({"a": True}, {"a": 1}), "result.a")
        self.differ(*self.result({"cacheScope": "private"}, {"cacheScope": "public"}), "cacheScope")
        self.differ(*self.result({"capabilities": {"tools": {}}}, {"capabilities": {}}), "capabilities.tools")
        self.differ(*self.result({"a": 1}, {}), "result.a")
        self.differ(*self.result({}, {"a": None}), "result.a")
        self.differ(*self.result({"resultType": "input_required"}, {"resultType": "complete"}), "resultType")
        self.differ(*self.result({"ttlMs": 1}, {"ttlMs": -1}), "ttlMs")
        self.differ(*self.result({"tools": [{"name": "t"}]}, {"tools": []}), "tools")
        self.differ(*self.result({"supportedVersions": ["2026-07-28"]}, {"supportedVersions": ["x"]}), "supported")

    def test_ids_and_tokens_of_the_client_come_back(self):
        for wrong in ("7", 8, None):
            self.differ(record(), record(answers=[PROGRESS, changed(ANSWER, ["id"], wrong)]), "id")
        self.differ(record(), record(answers=[changed(PROGRESS, ["params", "progressToken"], "x"), ANSWER]), "Token")
        note = {"jsonrpc": "2.0", "method": "n", "params": {"_meta": {META + "subscriptionId": 7}}}
        self.same(record(answers=[note]), record(answers=[note]))
        other = changed(note, ["params", "_meta", META + "subscriptionId"], "7")
        self.differ(record(answers=[note]), record(answers=[other]), "subscriptionId")

    def test_refusals_have_their_own_words_but_one_code(self):
        def refused(code, text, status=400):
            error = {"jsonrpc": "2.0", "id": 7, "error": {"code": code, "message": text}}
            return record(answers=[error], status=status, events=False)

        self.same(refused(-32602, "one"), refused(-32602, "two"))
        self.differ(refused(-32602, "one"), refused(-32600, "one"), "code")
        self.differ(refused(-32602, "one"), refused(-32602, "one", 404), "status")
        self.differ(refused(-32602, "one", 200), refused(-32602, "two", 200), "message")

    def test_a_text_for_people_is_compared_by_its_status(self):
        def refused(text, status):
            return {**record(status=status, events=False), "answer": text}

        error = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "x"}})
        self.same(refused("Forbidden", 403), refused(error, 403))
        self.differ(refused("Forbidden", 403), refused(error, 404), "status")

    def test_in_a_session_a_notification_may_choose_its_stream(self):
        log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x"}}

        def both(asked, got):
            answers = [("POST", [*asked, ANSWER]), ("GET", got)]
            made = [{**record(answers=each, number=at), "method": method} for at, (method, each) in enumerate(answers)]
            for each in made:
                each["headers"] = {"mcp-session-id": "s"}
            return made

        one, other, silent = both([log], []), both([], [log]), both([], [])
        self.assertEqual(compare.differences(one, other, "second__"), [])
        self.assertIn("came only directly", compare.differences(one, silent, "second__")[0][1])
        self.assertIn("came only through", compare.differences(silent, one, "second__")[0][1])

    def task(self, identity, statuses, code=None):
        """A call that becomes a task, and what is said when it is asked for."""
        begun = {"resultType": "task", "taskId": identity, "status": "working", "createdAt": identity + " o'clock"}
        asked = {"jsonrpc": "2.0", "id": 8, "method": "tasks/get", "params": {"taskId": identity}}
        made = [record(answers=[{"jsonrpc": "2.0", "id": 7, "result": begun}], events=False)]
        for at, status in enumerate(statuses):
            answer = {"jsonrpc": "2.0", "id": 8, "result": {"taskId": identity, "status": status}}
            if status is None:
                answer = {"jsonrpc": "2.0", "id": 8, "error": {"code": code, "message": f"no {identity}"}}
            made.append(record(asked=asked, answers=[answer], events=False, number=at + 1))
            made[-1]["headers"] = {"mcp-name": identity}
        return made

    def test_tasks_have_names_of_their_own_and_are_asked_for_until_they_are_there(self):
        one = self.task("a", ["working", "completed"])
        found = compare.differences(one, self.task("b", ["working", "working", "completed"]), "second__")
        self.assertEqual(found, [])
        found = compare.differences(one, self.task("b", ["completed", "working"]), "second__")
        self.assertIn("status", found[0][1])
        lost = [self.task(identity, [None], code) for identity, code in [("a", -32602), ("b", -32602), ("b", -32603)]]
        self.assertEqual(compare.differences(*lost[:2], "second__"), [])
        self.assertIn("code", compare.differences(lost[0], lost[2], "second__")[0][1])
        other = self.task("b", ["completed"])
        other[1]["headers"] = {"mcp-name": "a"}
        found = compare.differences(self.task("a", ["completed"]), other, "second__")
        self.assertIn("only directly", found[0][1])

    def test_requests_are_paired_in_any_order(self):
        other = changed(ASKED, ["params", "name"], "u")
        answered = changed(ANSWER, ["result", "content"], [])
        first, second = record(), record(asked=other, answers=[answered], number=1)
        self.assertEqual(compare.differences([first, second], [second, first], "second__"), [])
        found = compare.differences([first, second], [first], "second__")
        self.assertEqual(len(found), 1, found)
        self.assertIn("only directly", found[0][1])


if __name__ == "__main__":
    unittest.main()
