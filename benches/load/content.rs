//! What the peer serves and the driver expects: both build it from here, so that replies can be
//! compared byte for byte.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::protocol::Era;

/// How many upstreams the gateway aggregates, but where their number is what is measured.
pub(crate) const UPSTREAMS: usize = 10;

/// The peer serves no more upstreams than this.
pub(crate) const UPSTREAMS_MAX: usize = 100;

/// Most tools of one upstream: the gateway offers no more.
pub(crate) const TOOLS_MAX: usize = 1_000;

/// The path name under which the peer serves the tools of all upstreams as one static page.
pub(crate) const ALL: &str = "all";

/// How long the text of a result is; a tool's name chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    const EVERY: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    pub(crate) const fn tool(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Tools without a size in their name give small results.
    pub(crate) fn of_tool(tool: &str) -> Self {
        Self::EVERY.into_iter().find(|size| size.tool() == tool).unwrap_or(Self::Small)
    }

    /// Bytes.
    const fn text_length(self) -> usize {
        match self {
            Self::Small => 100,
            Self::Medium => 16 << 10,
            Self::Large => 1 << 20,
        }
    }
}

pub(crate) fn upstream(index: usize) -> String {
    format!("u{index}")
}

/// Where the peer serves an upstream, or [`ALL`], that has so many tools.
pub(crate) fn path(upstream: &str, tools: usize) -> String {
    format!("/n{tools}/{upstream}/mcp")
}

/// Upstream and number of tools of a path of the peer, if it serves that.
pub(crate) fn parse_path(path: &str) -> Option<(&str, usize)> {
    let (tools, upstream) = path.strip_prefix("/n")?.strip_suffix("/mcp")?.split_once('/')?;
    let tools = tools.parse().ok().filter(|count| (1..=TOOLS_MAX).contains(count))?;
    let index = upstream.strip_prefix('u').and_then(|index| index.parse::<usize>().ok());
    let known = upstream == ALL || index.is_some_and(|index| index < UPSTREAMS_MAX);
    known.then_some((upstream, tools))
}

/// The name under which the gateway shows a tool of an upstream.
pub(crate) fn exposed(upstream: &str, tool: &str) -> String {
    format!("{upstream}__{tool}")
}

/// The `content` member of a result, exactly as it must reach the client.
pub(crate) fn content(upstream: &str, size: Size) -> String {
    format!(r#""content":[{{"type":"text","text":{}}}]"#, json!(text(upstream, size)))
}

/// Plain text in lines. Each line differs and names its upstream, so that a piece that is lost,
/// doubled or from another upstream shows.
fn text(upstream: &str, size: Size) -> String {
    let length = size.text_length();
    let mut text = String::with_capacity(length + 100);
    let mut line = 0_u32;
    while text.len() < length {
        let written =
            writeln!(text, "{upstream} line {line:06}: the quick brown fox jumps over it.");
        debug_assert!(written.is_ok(), "a String takes all that is written to it");
        line += 1;
    }
    text.truncate(length);
    text
}

pub(crate) fn call_result(era: Era, upstream: &str, size: Size) -> String {
    let content = content(upstream, size);
    match era {
        Era::Legacy => format!(r#"{{{content},"isError":false}}"#),
        Era::Modern => format!(r#"{{"resultType":"complete",{content},"isError":false}}"#),
    }
}

pub(crate) fn list_result(era: Era, tools: &[Value]) -> String {
    let tools = Value::from(tools);
    match era {
        Era::Legacy => format!(r#"{{"tools":{tools}}}"#),
        // The hour keeps a gateway's refresh out of a run that takes minutes.
        Era::Modern => format!(
            r#"{{"resultType":"complete","tools":{tools},"ttlMs":3600000,"cacheScope":"public"}}"#
        ),
    }
}

/// The tools of one upstream under their own names, or of all under their exposed names.
pub(crate) fn tools(path: &str, count: usize) -> Vec<Value> {
    if path == ALL {
        (0..UPSTREAMS).flat_map(|index| exposed_tools(&upstream(index), count)).collect()
    } else {
        (0..count).map(|index| tool(path, index, &tool_name(index))).collect()
    }
}

/// The tools of one upstream as a client of the gateway sees them.
pub(crate) fn exposed_tools(upstream: &str, count: usize) -> Vec<Value> {
    (0..count).map(|index| tool(upstream, index, &exposed(upstream, &tool_name(index)))).collect()
}

/// Of the tool at this place in the list of an upstream.
pub(crate) fn tool_name(index: usize) -> String {
    Size::EVERY.get(index).map_or_else(|| format!("tool_{index:02}"), |size| size.tool().to_owned())
}

/// A definition of about 530 bytes, an ordinary size.
fn tool(upstream: &str, index: usize, name: &str) -> Value {
    json!({
        "name": name,
        "title": format!("Search number {index}"),
        "description": format!(
            "Searches part {index} of what {upstream} knows and gives the best pages as text, the \
             best one first. Ask in whole sentences; a narrow question finds more than a wide one."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                "exact": {"type": "boolean", "default": false}
            },
            "required": ["query"]
        },
        "annotations": {"readOnlyHint": true, "openWorldHint": false}
    })
}
