//! The main job in one look: both eras list and call through one gateway, over both transports.

use crate::support::{Gateway, Http, MODERN_META, StdioClient};

const DEFAULT: &str = include_str!("../../gateway.toml");

#[test]
fn the_default_configuration_answers_whoami_from_all_three_replicas_in_turn() {
    let gateway = Gateway::start(DEFAULT);
    let tools = Http::tools(&gateway.url());
    assert!(
        tools.iter().any(|t| t == "echo") && tools.iter().any(|t| t == "demo__whoami"),
        "{tools:?}"
    );
    let who = |reply: crate::support::Reply| {
        reply.answer()["result"]["structuredContent"]["name"].as_str().unwrap().to_owned()
    };
    crate::support::eventually("three replicas", || {
        let mut names: Vec<String> =
            (0..3).map(|_| who(Http::modern_call(&gateway.url(), "demo__whoami", "{}"))).collect();
        names.sort();
        (names == ["a", "b", "c"]).then_some(())
    });
    let session = Http::legacy_session(&gateway.url(), "2025-06-18");
    // A slow answer is asked for at a second replica too, which takes a turn.
    crate::support::eventually("three replicas in turn", || {
        let whoami = || Http::legacy_call(&gateway.url(), &session, "demo__whoami", "{}");
        let names: std::collections::BTreeSet<String> = (0..3).map(|_| who(whoami())).collect();
        (names.len() == 3).then_some(())
    });
}

#[test]
fn one_pipe_serves_both_eras() {
    let mut pipe = StdioClient::start(DEFAULT);
    let discover = pipe.ask(&format!(
        r#"{{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{{{MODERN_META}}}}}"#
    ));
    assert_eq!(discover["result"]["supportedVersions"][0], "2026-07-28");
    assert_eq!(pipe.handshake("2025-11-25")["result"]["protocolVersion"], "2025-11-25");
    let echo = pipe.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}}}"#);
    assert_eq!(echo["result"]["structuredContent"]["message"], "hi");
    assert!(echo["result"].get("resultType").is_none());
    let modern = pipe.ask(&format!(r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"hi"}},{MODERN_META}}}}}"#));
    assert_eq!(modern["result"]["resultType"], "complete");
    assert_eq!(pipe.close().0, 0);
}
