//! The bytes of the driver's requests, ready but for the id.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::protocol::{ARGUMENTS, Era, METHOD, NAME, SESSION, VERSION};

const CLIENT: &str = r#"{"name":"load","version":"1"}"#;

/// The ids of one session: all of one length, so that a prepared Content-Length stays true, and
/// none used twice in a run, so that a reply to another call cannot pass.
pub(crate) struct Ids {
    session: usize,
    next: usize,
    text: String,
}

impl Ids {
    pub(crate) const fn new(session: usize) -> Self {
        Self { session, next: 0, text: String::new() }
    }

    /// Most clients count; every fourth session here uses strings.
    pub(crate) fn advance(&mut self) -> &str {
        let Self { session, next, text } = self;
        text.clear();
        let written = if *session % 4 == 3 {
            write!(text, r#""call-{session:04}-{next:08}""#)
        } else {
            write!(text, "1{session:04}{next:08}")
        };
        debug_assert!(written.is_ok(), "a String takes all that is written to it");
        *next += 1;
        text
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Initialize,
    Initialized,
    List,
    /// A subscription to changes of the list of tools.
    Listen,
    Call(String),
}

impl Ask {
    const fn method(&self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Initialized => "notifications/initialized",
            Self::List => "tools/list",
            Self::Listen => "subscriptions/listen",
            Self::Call(_) => "tools/call",
        }
    }

    /// The members of `params` without `_meta`.
    fn params(&self) -> String {
        match self {
            Self::Initialize => format!(
                r#""protocolVersion":"{}","capabilities":{{}},"clientInfo":{CLIENT}"#,
                Era::Legacy.version()
            ),
            Self::Initialized | Self::List => String::new(),
            Self::Listen => r#""notifications":{"toolsListChanged":true}"#.to_owned(),
            Self::Call(tool) => format!(r#""name":"{tool}","arguments":{ARGUMENTS}"#),
        }
    }
}

/// Where and as whom a request is sent.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) era: Era,
    pub(crate) session: Option<&'a str>,
}

/// One request in two pieces, with the id between them.
pub(crate) struct Request {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Request {
    /// `id_length` is the length of every id that will be put in; 0 makes a notification.
    pub(crate) fn new(sender: Sender<'_>, ask: &Ask, id_length: usize) -> Self {
        let start =
            if id_length == 0 { r#"{"jsonrpc":"2.0""# } else { r#"{"jsonrpc":"2.0","id":"# };
        let method = ask.method();
        let params = params(sender.era, ask);
        let after = format!(r#","method":"{method}","params":{{{params}}}}}"#);
        let mut before = head(sender, ask, start.len() + id_length + after.len());
        before.push_str(start);
        Self { before: before.into_bytes(), after: after.into_bytes() }
    }

    pub(crate) fn write(&self, id: &str, to: &mut Vec<u8>) {
        to.clear();
        to.extend_from_slice(&self.before);
        to.extend_from_slice(id.as_bytes());
        to.extend_from_slice(&self.after);
    }
}

fn params(era: Era, ask: &Ask) -> String {
    let own = ask.params();
    match era {
        Era::Legacy => own,
        Era::Modern => {
            let comma = if own.is_empty() { "" } else { "," };
            let version = era.version();
            format!(
                r#"{own}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{CLIENT}}}"#
            )
        }
    }
}

fn head(sender: Sender<'_>, ask: &Ask, length: usize) -> String {
    let Sender { address, path, era, session } = sender;
    let version = era.version();
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: load\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         content-length: {length}\r\n"
    );
    let mut header = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
    // A legacy version is only agreed on once `initialize` was answered.
    if !matches!(ask, Ask::Initialize) {
        header(VERSION, version);
    }
    if let Some(session) = session {
        header(SESSION, session);
    }
    if era == Era::Modern {
        header(METHOD, ask.method());
        if let Ask::Call(tool) = ask {
            header(NAME, tool);
        }
    }
    head.push_str("\r\n");
    head
}
