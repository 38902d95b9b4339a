//! Replicas that do not offer the same: a fleet on its way from one version to the next.

use serde_json::json;

use crate::support::puppet::{Offer, Puppet};
use crate::support::toml::{upstream, url};
use crate::support::{Era, Gateway, Http, eventually, listed, own_error, replicas_up};

/// A gateway over a replica of the old version and one of the new.
fn two_versions() -> (Gateway, [Puppet; 2]) {
    let old = Offer::new("u", Era::Legacy).tools(&["same", "gone"]);
    let new = Offer::new("u", Era::Modern).tools(&["same", "added"]);
    let servers = [Puppet::offers(old), Puppet::offers(new)];
    let keys = "balance = \"round_robin\"";
    let gateway =
        Gateway::start(&upstream("u", keys, &[url(&servers[0].url), url(&servers[1].url)]));
    replicas_up(&gateway, "u", 2);
    for tool in ["u__same", "u__gone", "u__added"] {
        listed(&gateway, tool);
    }
    (gateway, servers)
}

fn calls(server: &Puppet, tool: &str) -> usize {
    server.requests("tools/call").iter().filter(|seen| seen.param("name") == tool).count()
}

#[test]
fn all_tools_are_offered_and_called_only_where_they_are() {
    let (gateway, [old, new]) = two_versions();
    for _ in 0..6 {
        for tool in ["same", "gone", "added"] {
            let answer = Http::modern_call(&gateway.url(), &format!("u__{tool}"), "{}").answer();
            assert!(answer["result"].is_object(), "{tool}: {answer}");
        }
    }
    assert_eq!((calls(&old, "same"), calls(&new, "same")), (3, 3));
    assert_eq!((calls(&old, "gone"), calls(&new, "gone")), (6, 0));
    assert_eq!((calls(&old, "added"), calls(&new, "added")), (0, 6));
}

#[test]
fn a_tool_whose_only_replica_is_away_stays_listed_and_is_not_sent_elsewhere() {
    let (gateway, [mut old, new]) = two_versions();
    old.stop();
    let answer = eventually("the replica to be away", || {
        let answer = Http::modern_call(&gateway.url(), "u__gone", "{}").answer();
        (answer["error"]["code"] == -31002).then_some(answer)
    });
    assert_eq!(own_error(&answer).2, "not_sent", "{answer}");
    assert_eq!(calls(&new, "gone"), 0);
    assert!(Http::tools(&gateway.url()).contains(&"u__gone".to_owned()), "lists do not flap");
    assert!(Http::modern_call(&gateway.url(), "u__same", "{}").answer()["result"].is_object());
}

#[test]
fn a_definition_that_differs_is_called_only_where_it_is_as_the_client_knows_it() {
    let (gateway, [old, new]) = two_versions();
    new.change(|offer| {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        offer.tools[0]["inputSchema"] = schema;
    });
    eventually("the change to be seen", || {
        new.tell("notifications/tools/list_changed");
        let before = calls(&new, "same");
        for _ in 0..4 {
            Http::modern_call(&gateway.url(), "u__same", "{}");
        }
        (calls(&new, "same") == before).then_some(())
    });
    assert!(calls(&old, "same") >= 4, "at a tie the first one counts");
}
