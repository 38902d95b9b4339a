//! What tools there are, and tools/list in pages.
//!
//! Annotations are honest: a gateway may decide by them what is safe to run twice.

use serde_json::{Value, json};

use super::era::Era;
use super::quirks::{Quirk, Quirks};
use super::wire::{RpcError, code};

/// The tools of one process.
#[derive(Debug)]
pub(super) struct Catalog {
    fixed: Vec<Value>,
    modern_only: Vec<Value>,
    page_size: usize,
    /// tools/list says that there is always more.
    endless: bool,
}

/// What a run does to the world.
#[derive(Debug, Clone, Copy)]
enum Effect {
    ReadOnly,
    /// Changes something, but twice is like once.
    Idempotent,
    /// Each run adds something.
    Adds,
    /// May take something away.
    Destroys,
}

// === impl Catalog ===

impl Catalog {
    pub(super) fn new(plain: u32, page_size: Option<u32>, quirks: &Quirks) -> Self {
        let mut fixed = standard();
        if quirks.has(&Quirk::Ask) {
            fixed.push(ask());
        }
        if quirks.has(&Quirk::Ledger) {
            fixed.extend(counted());
        }
        if quirks.has(&Quirk::XMcpHeader) {
            fixed.extend(annotated());
        }
        fixed.extend((1..=plain).map(|n| nothing(&format!("tool_{n:04}"))));
        let modern_only =
            if quirks.has(&Quirk::ObjectOutput) { vec![array_result()] } else { vec![] };
        let page_size = page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        Self { fixed, modern_only, page_size, endless: quirks.has(&Quirk::LoopCursor) }
    }

    /// The tool by its name, in this era and with so many grown ones.
    pub(super) fn find(&self, name: &str, era: Era, grown: usize) -> Option<Value> {
        self.all(era, grown).into_iter().find(|tool| tool.get("name").is_some_and(|n| n == name))
    }

    /// One page: `{tools, nextCursor?}`.
    pub(super) fn page(
        &self,
        cursor: Option<&Value>,
        era: Era,
        grown: usize,
    ) -> Result<Value, RpcError> {
        let start = match cursor {
            None | Some(Value::Null) => 0,
            Some(_) if self.endless => 0,
            Some(cursor) => read_cursor(cursor)?,
        };
        let tools = self.all(era, grown);
        let end = start.saturating_add(self.page_size).min(tools.len());
        let shown = tools.get(start..end).unwrap_or_default();
        if self.endless {
            return Ok(json!({"tools": shown, "nextCursor": "again"}));
        }
        Ok(if end < tools.len() {
            json!({"tools": shown, "nextCursor": format!("from-{end}")})
        } else {
            json!({"tools": shown})
        })
    }

    /// Tools are only ever added at the end, so a cursor stays good when the list grows.
    fn all(&self, era: Era, grown: usize) -> Vec<Value> {
        let modern_only = if era == Era::Modern { self.modern_only.as_slice() } else { &[] };
        let mut tools = [self.fixed.as_slice(), modern_only].concat();
        tools.extend((1..=grown).map(|n| nothing(&format!("extra_{n}"))));
        tools
    }
}

fn read_cursor(cursor: &Value) -> Result<usize, RpcError> {
    let number = cursor.as_str().and_then(|cursor| cursor.strip_prefix("from-"));
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| RpcError::new(code::INVALID_PARAMS, "Invalid params: unknown cursor"))
}

// === the tools ===

fn tool(name: &str, title: &str, description: &str, effect: Effect) -> Value {
    let (read_only, destructive, idempotent) = match effect {
        Effect::ReadOnly => (true, false, true),
        Effect::Idempotent => (false, false, true),
        Effect::Adds => (false, false, false),
        Effect::Destroys => (false, true, false),
    };
    json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": object(&json!({}), &[]),
        "annotations": {
            "title": title,
            "readOnlyHint": read_only,
            "destructiveHint": destructive,
            "idempotentHint": idempotent,
            "openWorldHint": false,
        },
    })
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// The tool with one more field.
fn with(mut tool: Value, field: &str, value: Value) -> Value {
    if let Some(fields) = tool.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
    tool
}

fn input(tool: Value, properties: &Value, required: &[&str]) -> Value {
    with(tool, "inputSchema", object(properties, required))
}

fn output(tool: Value, properties: &Value, required: &[&str]) -> Value {
    with(tool, "outputSchema", object(properties, required))
}

fn standard() -> Vec<Value> {
    vec![
        whoami(),
        add(),
        append(),
        sleep(),
        fail(),
        progress(),
        tool(
            "echo_args",
            "Echo arguments",
            "Returns the raw JSON text of its arguments, byte for byte as received.",
            Effect::ReadOnly,
        ),
        tool(
            "grow",
            "Grow",
            "Adds one tool named extra_N to the list and announces the change.",
            Effect::Adds,
        ),
    ]
}

fn whoami() -> Value {
    let about = "Says which server process answers, and how often it was asked.";
    let tool = tool("whoami", "Who am I", about, Effect::ReadOnly);
    let properties = json!({
        "name": {"type": "string"},
        "pid": {"type": "integer"},
        "count": {"type": "integer", "description": "whoami calls that this process answered"},
    });
    output(tool, &properties, &["name", "pid", "count"])
}

fn add() -> Value {
    let about = "Adds two numbers and keeps the sum as the last one; asking twice changes nothing.";
    let tool = tool("add", "Add", about, Effect::Idempotent);
    let tool = input(tool, &json!({"a": {"type": "number"}, "b": {"type": "number"}}), &["a", "b"]);
    output(tool, &json!({"sum": {"type": "number"}}), &["sum"])
}

fn append() -> Value {
    let about =
        "Appends a line to the journal. Each run counts, so never run it twice by accident.";
    let tool = tool("append", "Append", about, Effect::Adds);
    let tool = input(tool, &json!({"line": {"type": "string"}}), &["line"]);
    let runs = json!({"runs": {"type": "integer", "description": "runs in this process"}});
    output(tool, &runs, &["runs"])
}

fn sleep() -> Value {
    let about = "Waits so many milliseconds, then answers. Stops when cancelled.";
    let tool = tool("sleep", "Sleep", about, Effect::ReadOnly);
    let ms = json!({"type": "integer", "minimum": 0, "maximum": super::tools::SLEEP_MS_MAX});
    let tool = input(tool, &json!({"ms": ms}), &["ms"]);
    output(tool, &json!({"slept_ms": {"type": "integer"}}), &["slept_ms"])
}

fn fail() -> Value {
    let about =
        "Fails as asked: with an error, an error result, a dead process, silence or garbage.";
    let tool = tool("fail", "Fail", about, Effect::Destroys);
    let how = json!({"type": "string", "enum": ["error", "is_error", "exit", "hang", "garbage"]});
    input(tool, &json!({"how": how}), &["how"])
}

fn progress() -> Value {
    let about = "Takes some steps and reports each one, if the caller sent a progress token.";
    let tool = tool("progress", "Progress", about, Effect::ReadOnly);
    let properties = json!({
        "steps": {"type": "integer", "minimum": 0, "maximum": super::tools::STEPS_MAX},
        "delay_ms": {"type": "integer", "minimum": 0, "description": "wait before each step"},
    });
    let tool = input(tool, &properties, &["steps"]);
    output(tool, &json!({"steps": {"type": "integer"}}), &["steps"])
}

/// A tool that is only there to be listed; a call says its name.
fn nothing(name: &str) -> Value {
    tool(name, name, "A plain tool for long lists; says its own name.", Effect::ReadOnly)
}

fn ask() -> Value {
    let about = "Asks the user for a word in the middle of the call and returns the answer.";
    let tool = tool("ask", "Ask", about, Effect::Adds);
    let properties = json!({
        "action": {"type": "string"},
        "content": {"type": "object"},
    });
    output(tool, &properties, &["action"])
}

/// One tool that HTTP clients must keep, and three that they must drop.
fn annotated() -> Vec<Value> {
    let mirrored = |kind: &str, header: &str| json!({"type": kind, "x-mcp-header": header});
    let about = "Returns its arguments; some of them travel as headers too.";
    let make = |name: &str, properties: Value| {
        input(tool(name, name, about, Effect::ReadOnly), &properties, &[])
    };
    let nested = object(&json!({"dry": mirrored("boolean", "Dry")}), &[]);
    let items =
        json!({"type": "array", "items": object(&json!({"x": mirrored("string", "X")}), &[])});
    vec![
        make(
            "headers_ok",
            json!({
                "region": mirrored("string", "Region"),
                "shard": mirrored("integer", "Shard"),
                "options": nested,
            }),
        ),
        make("headers_bad_number", json!({"ratio": mirrored("number", "Ratio")})),
        make("headers_bad_items", json!({"list": items})),
        make(
            "headers_dup",
            json!({"one": mirrored("string", "Same"), "two": mirrored("string", "SAME")}),
        ),
    ]
}

/// Tools that differ in what a second run would do, and in nothing else.
fn counted() -> Vec<Value> {
    let effects = [Effect::ReadOnly, Effect::Idempotent, Effect::Adds, Effect::Adds];
    let whole = json!({"type": "integer", "minimum": 0});
    let properties = json!({
        "op": {"type": "string", "description": "the caller's word for this run"},
        "ms": whole, "steps": whole, "pad": whole,
    });
    let about = "Works for a while; each run is in the journal.";
    let make = |(name, effect)| input(tool(name, name, about, effect), &properties, &["op"]);
    super::ledger::NAMES.into_iter().zip(effects).map(make).collect()
}

fn array_result() -> Value {
    let about = "Returns an array as structured content, which only the modern era allows.";
    let tool = tool("array_result", "Array result", about, Effect::ReadOnly);
    with(tool, "outputSchema", json!({"type": "array", "items": {"type": "integer"}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(plain: u32, page_size: Option<u32>, quirks: Vec<Quirk>) -> Catalog {
        Catalog::new(plain, page_size, &Quirks::new(quirks))
    }

    fn names(page: &Value) -> Vec<String> {
        let tools = page["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn pages_cover_the_list_once() {
        let catalog = catalog(10, Some(4), vec![]);
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let page = catalog.page(cursor.as_ref(), Era::Legacy, 1).unwrap();
            seen.extend(names(&page));
            match page.get("nextCursor") {
                Some(next) => cursor = Some(next.clone()),
                None => break,
            }
        }
        assert_eq!(
            seen,
            names(&self::catalog(10, None, vec![]).page(None, Era::Legacy, 1).unwrap())
        );
        assert_eq!(seen.first().map(String::as_str), Some("whoami"));
        assert_eq!(seen.last().map(String::as_str), Some("extra_1"));
    }

    #[test]
    fn unknown_cursors_are_refused() {
        for bad in [json!("nope"), json!("from-x"), json!(3)] {
            let error = catalog(0, None, vec![]).page(Some(&bad), Era::Modern, 0).unwrap_err();
            assert_eq!(error.code, code::INVALID_PARAMS);
        }
    }

    #[test]
    fn a_looping_list_never_ends() {
        let catalog = catalog(0, None, vec![Quirk::LoopCursor]);
        let page = catalog.page(Some(&json!("again")), Era::Modern, 0).unwrap();
        assert_eq!(page["nextCursor"], "again");
    }

    #[test]
    fn array_results_are_modern_only() {
        let catalog = catalog(0, None, vec![Quirk::ObjectOutput]);
        assert!(catalog.find("array_result", Era::Modern, 0).is_some());
        assert!(catalog.find("array_result", Era::Legacy, 0).is_none());
    }
}
