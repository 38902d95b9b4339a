//! Clients that call all the time, each on a connection that it keeps, and what they saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::client::Reply;
use super::kept::Kept;
use super::{Gateway, Http, eventually};

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Calls that were answered with a result.
    pub(crate) answered: usize,
    /// What came instead, of each client the first ones.
    pub(crate) failed: Vec<String>,
    /// The processes that answered, by tool.
    pub(crate) pids: BTreeMap<String, BTreeSet<u64>>,
}

/// Clients at work.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Load {
    /// So many clients of each era begin to call these tools in turn. They end when they are told
    /// to, or when nobody lets them in any more.
    pub(crate) fn start(gateway: &Gateway, each: usize, tools: &[&str]) -> Self {
        let (over, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = (0..2 * each).map(|n| {
            let legacy = n % 2 == 0;
            let session = legacy.then(|| Http::legacy_session(&gateway.url(), "2025-11-25"));
            let client = Client {
                addr: gateway.addr().to_owned(),
                session,
                tools: tools.iter().map(ToString::to_string).collect(),
                over: Arc::clone(&over),
                calls: Arc::clone(&calls),
                seen: Seen::default(),
                number: 0,
            };
            std::thread::spawn(move || client.run())
        });
        let clients = clients.collect();
        Self { over, calls, clients }
    }

    /// Waits until so many more calls have ended.
    #[track_caller]
    pub(crate) fn goes_on(&self, more: usize) {
        let until = self.calls.load(Ordering::Acquire) + more;
        eventually("calls to end", || (self.calls.load(Ordering::Acquire) >= until).then_some(()));
    }

    /// Ends it, and answers what was seen.
    pub(crate) fn stop(self) -> Seen {
        self.over.store(true, Ordering::Release);
        self.end()
    }

    /// Waits until nobody lets the clients in any more, and answers what was seen.
    pub(crate) fn end(self) -> Seen {
        let mut all = Seen::default();
        for client in self.clients {
            let Seen { answered, failed, pids } = client.join().unwrap();
            all.answered += answered;
            all.failed.extend(failed);
            for (tool, of) in pids {
                all.pids.entry(tool).or_default().extend(of);
            }
        }
        all
    }
}

struct Client {
    addr: String,
    session: Option<String>,
    tools: Vec<String>,
    over: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    seen: Seen,
    number: usize,
}

impl Client {
    fn run(mut self) -> Seen {
        while let Some(mut kept) = Kept::open(&self.addr) {
            loop {
                if self.over.load(Ordering::Acquire) {
                    return self.seen;
                }
                self.number += 1;
                let tool = self.tools[self.number % self.tools.len()].clone();
                let reply = self.call(&mut kept, &tool);
                self.note(&tool, &reply);
                self.calls.fetch_add(1, Ordering::AcqRel);
                if reply.status == 0 || reply.header("connection") == Some("close") {
                    break;
                }
            }
        }
        self.seen
    }

    fn call(&self, kept: &mut Kept, tool: &str) -> Reply {
        let params = format!(r#""name":"{tool}","arguments":{{"a":1,"b":2}}"#);
        let id = self.number.to_string();
        let (headers, body) = match &self.session {
            None => Http::modern_parts(&id, "tools/call", Some(tool), &params),
            Some(session) => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{params}}}}}"#
                );
                (vec![("Mcp-Session-Id", session.as_str())], body)
            }
        };
        kept.post(&headers, &body)
    }

    fn note(&mut self, tool: &str, reply: &Reply) {
        let answer = reply.messages().pop().unwrap_or_default();
        let result = &answer["result"];
        if reply.status != 200 || !result.is_object() || result["isError"] == true {
            if self.seen.failed.len() < 3 {
                self.seen.failed.push(format!("{tool}: {reply:?}"));
            }
            return;
        }
        self.seen.answered += 1;
        if let Some(pid) = result["structuredContent"]["pid"].as_u64() {
            self.seen.pids.entry(tool.to_owned()).or_default().insert(pid);
        }
    }
}
