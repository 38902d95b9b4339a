//! One cell of the matrix: a client, a gateway, and upstreams that each show what the others lack.

use serde_json::Value;

use crate::support::hearer::{Heard, Hearer};
use crate::support::process::{Fixture, fixture};
use crate::support::toml::{command, upstream, url};
use crate::support::upstream::{Fake as Watched, Got, Upstream, config};
use crate::support::{Era, Over, Peer, eventually, worker};

use super::linker::Linker;

/// An era and how its messages travel.
pub(super) type Side = (Era, Over);

/// What the client can be asked, and that it follows tasks.
const CAPABILITIES: &str = r#"{"elicitation":{"form":{}},"sampling":{},"roots":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// The cell. `u` is the fixture of the conformance suite, `d` the demo server, `l` names a resource
/// that it does not list, `t` runs its tools as tasks, and `w`, which is there for a modern URL only, sees connections close.
pub(super) struct Cell {
    /// The client, which can be asked everything.
    pub(super) client: Hearer,
    /// How the client comes.
    pub(super) client_side: Side,
    /// How the upstreams are reached.
    pub(super) upstream_side: Side,
    /// `d`
    pub(super) demo: Upstream,
    /// `t`
    pub(super) worker: Peer,
    /// `w`
    pub(super) watched: Option<Watched>,
    fixture: Option<Fixture>,
    _linker: Linker,
}

impl Cell {
    /// A cell whose upstreams have listed everything.
    pub(super) fn new(client: Side, upstream: Side) -> Self {
        let era = word(upstream.0);
        let demo = match upstream.1 {
            Over::Stdio => Upstream::pipe(&["--era", era, "--name", "d"]),
            Over::Http => Upstream::url(&["--era", era, "--name", "d"]),
        };
        let fixture = (upstream.1 == Over::Http).then(|| Fixture::start(era));
        let linker = Linker::start(upstream);
        let worker = match upstream.0 {
            Era::Legacy => worker::legacy(upstream.1, "it"),
            Era::Modern => worker::modern(upstream.1, "it"),
        };
        let watched = (upstream == (Era::Modern, Over::Http)).then(|| Watched::start(None));
        let mut tables = table("u", "", &replica(fixture.as_ref(), era));
        tables.push_str(&demo.replica("d"));
        tables.push_str(&table("l", "", &linker.replica()));
        tables.push_str(&worker.tables("t", ""));
        tables.extend(watched.as_ref().map(|watched| watched.replica("w")));
        let client_ = Hearer::start(client.0, client.1, &config(&tables), CAPABILITIES);
        let mut cell = Self {
            client: client_,
            client_side: client,
            upstream_side: upstream,
            demo,
            worker,
            watched,
            fixture,
            _linker: linker,
        };
        let mut wanted = vec!["u__test_simple_text", "d__whoami", "l__link", "t__must"];
        wanted.extend(cell.watched.as_ref().map(|_| "w__t"));
        eventually("the tools of all upstreams", || {
            let names = cell.names("tools/list", "tools", "name");
            wanted.iter().all(|wanted| names.iter().any(|name| name == wanted)).then_some(())
        });
        cell
    }

    /// A client of the same kind at a gateway that offers the fixture's names as they are.
    pub(super) fn transparent(&self) -> Hearer {
        let replica = replica(self.fixture.as_ref(), word(self.upstream_side.0));
        let tables = config(&table("u", "prefix = \"\"", &replica));
        Hearer::start(self.client_side.0, self.client_side.1, &tables, CAPABILITIES)
    }

    /// The result of a request, which has just the members that the client's era knows.
    #[track_caller]
    pub(super) fn result(&mut self, method: &str, params: &str) -> Value {
        let heard = self.client.ask(method, params);
        self.of_its_era(method, heard.result());
        heard.answer["result"].clone()
    }

    /// The result of a tool call.
    #[track_caller]
    pub(super) fn call(&mut self, tool: &str, arguments: &str) -> Value {
        let heard = self.client.call(tool, arguments);
        self.of_its_era("tools/call", heard.result());
        heard.answer["result"].clone()
    }

    /// The error of a request.
    #[track_caller]
    pub(super) fn error(&mut self, method: &str, params: &str) -> Value {
        let heard: Heard = self.client.ask(method, params);
        heard.error().clone()
    }

    #[track_caller]
    fn of_its_era(&self, method: &str, result: &Value) {
        let cacheable = method.ends_with("/list") || method == "resources/read";
        match self.client_side.0 {
            Era::Modern => {
                assert_eq!(result["resultType"], "complete", "{result}");
                if cacheable {
                    assert!(result["ttlMs"].is_u64(), "{result}");
                    let scope = result["cacheScope"].as_str().unwrap_or_default();
                    assert!(["private", "public"].contains(&scope), "{result}");
                }
            }
            Era::Legacy => {
                for key in ["resultType", "ttlMs", "cacheScope"] {
                    assert!(result.get(key).is_none(), "{key} in {result}");
                }
            }
        }
    }

    /// What a list names, by this key of its entries.
    #[track_caller]
    pub(super) fn names(&mut self, method: &str, list: &str, key: &str) -> Vec<String> {
        let result = self.result(method, "");
        let entries = result[list].as_array().unwrap_or_else(|| panic!("{list} in {result}"));
        entries.iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
    }

    /// The definition of a tool.
    #[track_caller]
    pub(super) fn tool(&mut self, name: &str) -> Value {
        let list = self.result("tools/list", "");
        let tools = list["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["name"] == name).unwrap_or_else(|| panic!("{list}")).clone()
    }

    /// The demo server was spoken to in its own era, under its own names.
    pub(super) fn the_upstream_heard_its_own_era(&self) {
        let calls = self.demo.of("tools/call");
        assert!(!calls.is_empty());
        for call in &calls {
            assert!(!call.body.contains("d__"), "{call:?}");
            assert!(!call.body.contains("whoamy"), "an unknown tool goes nowhere");
            let modern = call.body.contains("io.modelcontextprotocol/protocolVersion");
            assert_eq!(modern, self.upstream_side.0 == Era::Modern, "{call:?}");
            if self.upstream_side.1 == Over::Http {
                self.headers_of_its_own_era(call);
            }
        }
        let greeted = !self.demo.of("initialize").is_empty();
        assert_eq!(greeted, self.upstream_side.0 == Era::Legacy);
    }

    fn headers_of_its_own_era(&self, call: &Got) {
        let has = |name| !call.header(name).is_empty();
        match self.upstream_side.0 {
            Era::Modern => {
                assert_eq!(call.header("mcp-protocol-version"), ["2026-07-28"], "{call:?}");
                assert_eq!(call.header("mcp-method"), ["tools/call"], "{call:?}");
                assert!(has("mcp-name") && !has("mcp-session-id"), "{call:?}");
            }
            Era::Legacy => {
                assert_eq!(call.header("mcp-protocol-version"), ["2025-11-25"], "{call:?}");
                assert!(has("mcp-session-id"), "{call:?}");
                assert!(!has("mcp-method") && !has("mcp-name"), "{call:?}");
            }
        }
    }
}

fn word(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

fn table(name: &str, keys: &str, replica: &str) -> String {
    upstream(name, keys, &[replica.to_owned()])
}

/// The fixture behind its URL, or as a child.
fn replica(running: Option<&Fixture>, era: &str) -> String {
    match running {
        Some(running) => url(&running.url),
        None => command(&[fixture().to_str().unwrap(), "--stdio", "--era", era]),
    }
}
