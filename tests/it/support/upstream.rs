//! Upstreams and what reached them: demo servers behind a URL or a pipe, and one that a test
//! writes itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use super::process::{Demo, received};
use super::{Gateway, Http, StdioClient, eventually};

/// What the gateway asks its upstreams on its own account.
const OWN: [&str; 6] = [
    "server/discover",
    "initialize",
    "notifications/initialized",
    "tools/list",
    "subscriptions/listen",
    "ping",
];

/// Where a demo server stands.
pub(crate) enum Place {
    /// Behind a URL.
    Url(Demo),
    /// A child of the gateway on a pipe.
    Pipe { folder: tempfile::TempDir, args: Vec<String> },
}

/// A recorded demo server of either transport.
pub(crate) struct Upstream {
    place: Place,
}

impl Upstream {
    /// One behind a URL.
    pub(crate) fn url(args: &[&str]) -> Self {
        Self { place: Place::Url(Demo::start(args)) }
    }

    /// One that the gateway will start.
    pub(crate) fn pipe(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { place: Place::Pipe { folder, args } }
    }

    /// One of each transport and era, with a word that says which.
    pub(crate) fn every_kind() -> Vec<(&'static str, Self)> {
        vec![
            ("modern, URL", Self::url(&["--era", "modern"])),
            ("legacy, URL", Self::url(&["--era", "legacy"])),
            ("modern, pipe", Self::pipe(&["--era", "modern"])),
            ("legacy, pipe", Self::pipe(&["--era", "legacy"])),
        ]
    }

    /// Its replica table for a gateway.toml.
    pub(crate) fn replica(&self, name: &str) -> String {
        let how = match &self.place {
            Place::Url(demo) => format!("url = {:?}", demo.url),
            Place::Pipe { args, .. } => {
                let record = self.record().display().to_string();
                let all = ["demo-server", "--stdio", "--record", &record]
                    .into_iter()
                    .map(str::to_owned)
                    .chain(args.iter().cloned());
                let all: Vec<String> = all.collect();
                format!("command = \"waypost\"\nargs = {all:?}")
            }
        };
        format!("[[upstreams.{name}.replicas]]\n{how}\n")
    }

    fn record(&self) -> PathBuf {
        match &self.place {
            Place::Url(_) => PathBuf::new(),
            Place::Pipe { folder, .. } => folder.path().join("record.jsonl"),
        }
    }

    /// Every message that it got, as bytes that were sent, and the headers beside them.
    pub(crate) fn got(&self) -> Vec<Got> {
        match &self.place {
            Place::Url(demo) => demo.received().iter().map(Got::of_post).collect(),
            Place::Pipe { .. } => received(&self.record()).iter().map(Got::of_line).collect(),
        }
    }

    /// The messages that it would not have got without a client.
    pub(crate) fn by_clients(&self) -> Vec<Got> {
        let own = |got: &Got| OWN.contains(&got.method().as_str()) || got.body.is_empty();
        self.got().into_iter().filter(|got| !own(got)).collect()
    }

    /// The messages of a method.
    pub(crate) fn of(&self, method: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.method() == method).collect()
    }

    /// The one call that it got.
    #[track_caller]
    pub(crate) fn only_call(&self) -> Got {
        let mut calls = self.by_clients();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }
}

/// One message at an upstream.
#[derive(Debug)]
pub(crate) struct Got {
    /// The text as it arrived.
    pub(crate) body: String,
    /// `name: value`, sorted; empty on a pipe.
    pub(crate) headers: Vec<String>,
}

impl Got {
    fn of_post(entry: &Value) -> Self {
        let lines = entry["headers"].as_array().cloned().unwrap_or_default();
        let headers = lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect();
        Self { body: entry["body"].as_str().unwrap().to_owned(), headers }
    }

    fn of_line(entry: &Value) -> Self {
        let line = entry["line"].as_str().unwrap().trim_end_matches('\n');
        Self { body: line.to_owned(), headers: Vec::new() }
    }

    /// Its JSON; null where no value can hold it.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Its method, read from the text, since not every message fits a value.
    pub(crate) fn method(&self) -> String {
        let after = self.body.split_once(r#""method":""#).map(|(_, after)| after);
        after.and_then(|after| after.split('"').next()).unwrap_or_default().to_owned()
    }

    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter_map(|line| line.split_once(": "));
        values.filter(|(known, _)| *known == name).map(|(_, value)| value).collect()
    }

    /// The names of all headers.
    pub(crate) fn header_names(&self) -> Vec<&str> {
        self.headers.iter().filter_map(|line| line.split(": ").next()).collect()
    }
}

/// A gateway with these tables, of which every upstream has listed its tools.
pub(crate) fn gateway(tables: &str) -> Gateway {
    let gateway = Gateway::start(&config(tables));
    let tools = Http::tools(&gateway.url());
    assert!(tools.iter().any(|tool| tool == "echo"), "{tools:?}");
    gateway
}

/// A gateway in front of one upstream, `u`, with the tools `u__…`.
pub(crate) fn gateway_to(upstream: &Upstream) -> Gateway {
    let gateway = gateway(&upstream.replica("u"));
    eventually("the upstream's tools", || {
        Http::tools(&gateway.url()).iter().any(|tool| tool == "u__whoami").then_some(())
    });
    gateway
}

/// A pipe in front of one upstream, `u`, whose tools are there. Nobody has shaken hands on it.
pub(crate) fn pipe_to(upstream: &Upstream) -> StdioClient {
    let mut pipe = StdioClient::start(&config(&upstream.replica("u")));
    eventually("the upstream's tools", || {
        let (_, list) = Http::modern_parts("\"ready\"", "tools/list", None, "");
        pipe.ask(&list).to_string().contains("\"u__whoami\"").then_some(())
    });
    pipe
}

/// A configuration whose only built-in tool is `echo`.
pub(crate) fn config(tables: &str) -> String {
    let off =
        ["weather", "context7", "gateway"].map(|tool| format!("[tools.{tool}]\nenabled = false\n"));
    format!("{}{tables}", off.concat())
}

/// A modern server behind a URL with one tool, `t`, whose calls the test answers.
pub(crate) struct Fake {
    /// Its endpoint.
    pub(crate) url: String,
    /// `"called"` when a call is in, `"closed"` when its connection is closed by the other side.
    pub(crate) events: Receiver<&'static str>,
}

impl Fake {
    /// Answers every call with this member beside the id, or with a whole message and HTTP 400;
    /// `None`: never.
    pub(crate) fn start(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(socket, answer, &sender));
            }
        });
        Self { url, events }
    }

    /// Its replica table for a gateway.toml.
    pub(crate) fn replica(&self, name: &str) -> String {
        format!("[[upstreams.{name}.replicas]]\nurl = {:?}\n", self.url)
    }
}

/// Answers requests until the other side closes.
fn serve(socket: TcpStream, answer: Option<&str>, events: &Sender<&'static str>) {
    let mut writer = socket.try_clone().unwrap();
    let mut reader = BufReader::new(socket);
    while let Some(body) = read_body(&mut reader) {
        let id = &body["id"];
        let mut status = "200 OK";
        let rest = match (body["method"].as_str(), answer) {
            (Some("server/discover"), _) => result(&json!({
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
            })),
            (Some("tools/list"), _) => result(&json!({
                "tools": [{"name": "t", "inputSchema": {"type": "object"}}],
            })),
            (Some("tools/call"), None) => {
                events.send("called").unwrap_or_default();
                while reader.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
                events.send("closed").unwrap_or_default();
                return;
            }
            (Some("tools/call"), Some(answer)) => {
                events.send("called").unwrap_or_default();
                answer.to_owned()
            }
            _ => r#""error":{"code":-32601,"message":"no such method"}"#.to_owned(),
        };
        let text = if rest.starts_with('{') {
            status = "400 Bad Request";
            rest
        } else {
            format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#)
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        if writer.write_all(format!("{head}{text}").as_bytes()).is_err() {
            return;
        }
    }
}

fn result(more: &Value) -> String {
    let mut result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private"});
    let members = more.as_object().unwrap().clone();
    result.as_object_mut().unwrap().extend(members);
    format!(r#""result":{result}"#)
}

fn read_body(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
