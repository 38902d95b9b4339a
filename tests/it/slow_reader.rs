//! A client that stops reading costs bounded memory and nobody else's time, and finds its answer
//! when it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use waypost::base::clock;

use crate::support::client::Open;
use crate::support::duplex::{Duplex, KINDS};
use crate::support::procfs::resident_kib;
use crate::support::puppet::{Offer, Puppet, Seen, Wire};
use crate::support::session::call;
use crate::support::toml::{command, upstream, url};
use crate::support::{Era, Gateway, Http, PATIENCE, StdioClient, eventually, listed};

/// Notes of one call: 100 MB in all.
const NOTES: u64 = 1_600;
/// The text of each.
const NOTE_BYTES: usize = 62_500;
/// What the bounded queues of one call and of the sockets explain.
const MEMORY_GROWTH_KIB: u64 = 40 * 1024;
/// The flood is over or held up when nothing was written for so long.
const STILL: Duration = Duration::from_millis(700);

/// A server that floods a call of `flood` with progress. It counts the notes that were taken.
fn flooding(era: Era) -> (Puppet, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let text = "x".repeat(NOTE_BYTES);
    let play = move |seen: &Seen, wire: &mut Wire| {
        if seen.param("name") != "flood" {
            return false;
        }
        wire.stream();
        for n in 1..=NOTES {
            if !wire.event(&seen.progress(n, &text)) {
                return true;
            }
            counter.store(n, Ordering::SeqCst);
        }
        let mut result = json!({"content": [{"type": "text", "text": "after the flood"}]});
        if era == Era::Modern {
            result["resultType"] = json!("complete");
        }
        wire.event(&seen.result(&result));
        wire.end();
        true
    };
    (Puppet::start(Offer::new("u", era).tools(&["flood", "t"]), play), written)
}

/// A call of `flood` that wants progress and whose answer is not read.
fn start_flood(gateway: &Gateway, era: Era) -> Open {
    let params = r#""name":"u__flood","arguments":{}"#;
    let (mut headers, body) = Http::modern_parts("1", "tools/call", Some("u__flood"), params);
    let mut body = body.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#);
    let session;
    if era == Era::Legacy {
        session = Http::legacy_session(&gateway.url(), "2025-11-25");
        headers = vec![("Mcp-Session-Id", &session)];
        body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params},"_meta":{{"progressToken":"p"}}}}}}"#
        );
    }
    Http::open(&gateway.url(), &headers, &body)
}

/// Waits until a count is not zero and stands still; `meanwhile` runs all the time.
fn stands_still(count: &dyn Fn() -> u64, mut meanwhile: impl FnMut()) -> u64 {
    let (began, mut last, mut since) = (clock::now(), 0, clock::now());
    loop {
        let now = count();
        if now != last {
            (last, since) = (now, clock::now());
        }
        if last > 0 && since.elapsed() > STILL {
            return last;
        }
        assert!(began.elapsed() < PATIENCE, "gave up waiting for the flood to stand still");
        meanwhile();
    }
}

/// The others are answered, by the flooding upstream too.
fn others(gateway: &Gateway) {
    let echo = Http::modern_call(&gateway.url(), "echo", r#"{"message":"hi"}"#).answer();
    assert_eq!(echo["result"]["structuredContent"]["message"], "hi", "{echo}");
    let began = clock::now();
    let answer = Http::modern_call(&gateway.url(), "u__t", "{}").answer();
    assert_eq!(answer["result"]["content"][0]["text"], "u:t", "{answer}");
    assert!(began.elapsed() < Duration::from_secs(5), "held up for {:?}", began.elapsed());
}

/// The last message of a stream that is read to its end at last.
fn read_on(stream: &mut Open) -> Value {
    let mut last = Value::Null;
    while let Some(message) = stream.message() {
        last = message;
    }
    last
}

#[test]
fn a_client_that_stops_reading_a_flood_costs_bounded_memory_and_gets_its_answer() {
    for (server, client) in
        [(Era::Modern, Era::Modern), (Era::Legacy, Era::Legacy), (Era::Legacy, Era::Modern)]
    {
        let (puppet, written) = flooding(server);
        let gateway = Gateway::start(&upstream("u", "", &[url(&puppet.url)]));
        listed(&gateway, "u__t");
        others(&gateway);
        let before = resident_kib(gateway.pid());
        let mut stream = start_flood(&gateway, client);
        assert_eq!(stream.status(), 200);
        let mut most = 0;
        stands_still(&|| written.load(Ordering::SeqCst), || {
            most = most.max(resident_kib(gateway.pid()));
            others(&gateway);
        });
        let grown = most.saturating_sub(before);
        assert!(grown < MEMORY_GROWTH_KIB, "{server:?} {client:?}: grew by {grown} KiB");
        let last = read_on(&mut stream);
        assert_eq!(last["result"]["content"][0]["text"], "after the flood", "{last}");
        let after = resident_kib(gateway.pid()).saturating_sub(before);
        assert!(after < MEMORY_GROWTH_KIB, "{server:?} {client:?}: {after} KiB stay");
    }
}

/// A legacy server on a pipe with the same two tools.
const CHILD: &str = r#"
note=$(head -c 62500 /dev/zero | tr '\0' x)
say() { printf '%s\n' "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$1}"; }
while read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *'"server/discover"'*)
      printf '%s\n' "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}" ;;
    *'"initialize"'*)
      say '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"tools/list"'*)
      say '{"tools":[{"name":"flood","inputSchema":{"type":"object"}},{"name":"t","inputSchema":{"type":"object"}}]}' ;;
    *'"flood"'*)
      token=${line#*\"progressToken\":}; token=${token%%[,\}]*}
      flooded=$id; n=0 ;;
    *'"t"'*) say '{"content":[{"type":"text","text":"u:t"}]}' ;;
    *'"ping"'*) say '{}' ;;
  esac
  if [ -n "$flooded" ]; then
    while [ $n -lt 1600 ]; do
      n=$((n + 1))
      printf '%s\n' "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$token,\"progress\":$n,\"message\":\"$note\"}}"
      [ $((n % 400)) -eq 0 ] && echo "flooded $n" >>"$0.count"
    done
    id=$flooded; say '{"content":[{"type":"text","text":"after the flood"}]}'
    flooded=
  fi
done
"#;

#[test]
fn a_client_that_stops_reading_does_not_hold_up_a_child_that_others_use() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("child");
    std::fs::write(&script, CHILD).unwrap();
    let path = script.to_str().unwrap();
    let gateway = Gateway::start(&upstream("u", "", &[command(&["sh", path])]));
    listed(&gateway, "u__t");
    others(&gateway);
    for client in [Era::Legacy, Era::Modern] {
        let before = resident_kib(gateway.pid());
        let count = folder.path().join("child.count");
        drop(std::fs::remove_file(&count));
        let mut stream = start_flood(&gateway, client);
        assert_eq!(stream.status(), 200);
        let mut most = 0;
        // The whole flood leaves the child though nobody reads it.
        eventually("the child to have written it all", || {
            most = most.max(resident_kib(gateway.pid()));
            let written = std::fs::read_to_string(&count).unwrap_or_default();
            written.contains("flooded 1600").then_some(())
        });
        others(&gateway);
        let grown = most.saturating_sub(before);
        assert!(grown < MEMORY_GROWTH_KIB, "{client:?}: grew by {grown} KiB");
        let last = read_on(&mut stream);
        assert_eq!(last["result"]["content"][0]["text"], "after the flood", "{last}");
    }
}

#[test]
fn a_client_of_a_connection_both_ways_that_stops_reading_costs_bounded_memory_too() {
    let (puppet, written) = flooding(Era::Modern);
    let gateway = Gateway::start(&upstream("u", "", &[url(&puppet.url)]));
    listed(&gateway, "u__t");
    for kind in KINDS {
        written.store(0, Ordering::SeqCst);
        let before = resident_kib(gateway.pid());
        let mut client = Duplex::greeted(kind, &gateway, "{}");
        client.send(&call("\"f\"", "u__flood", r#""_meta":{"progressToken":"p"}"#));
        let mut most = 0;
        stands_still(&|| written.load(Ordering::SeqCst), || {
            most = most.max(resident_kib(gateway.pid()));
            others(&gateway);
        });
        let grown = most.saturating_sub(before);
        assert!(grown < MEMORY_GROWTH_KIB, "{kind:?}: grew by {grown} KiB");
        loop {
            let message = client.next();
            if message["id"] == "f" {
                assert_eq!(message["result"]["content"][0]["text"], "after the flood");
                break;
            }
        }
    }
}

#[test]
fn a_client_on_the_pipe_that_stops_reading_costs_bounded_memory_and_gets_its_answer() {
    let (puppet, written) = flooding(Era::Modern);
    let config = crate::support::upstream::config(&upstream("u", "", &[url(&puppet.url)]));
    let mut pipe = StdioClient::start(&config);
    eventually("the tools", || {
        let (_, list) = Http::modern_parts("\"l\"", "tools/list", None, "");
        pipe.ask(&list).to_string().contains("u__flood").then_some(())
    });
    let before = resident_kib(pipe.pid());
    pipe.pause();
    let params = r#""name":"u__flood","arguments":{}"#;
    let (_, body) = Http::modern_parts("\"f\"", "tools/call", Some("u__flood"), params);
    pipe.send(&body.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#));
    let mut most = 0;
    stands_still(&|| written.load(Ordering::SeqCst), || {
        most = most.max(resident_kib(pipe.pid()));
        std::thread::sleep(Duration::from_millis(10));
    });
    let grown = most.saturating_sub(before);
    assert!(grown < MEMORY_GROWTH_KIB, "grew by {grown} KiB");
    pipe.resume();
    loop {
        let message = pipe.next();
        if message["id"] == "f" {
            assert_eq!(message["result"]["content"][0]["text"], "after the flood");
            return;
        }
        assert_eq!(message["method"], "notifications/progress");
    }
}
