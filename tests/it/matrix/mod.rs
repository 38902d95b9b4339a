//! The era matrix: everything that a client can see, for clients and upstreams of both eras, each
//! over both transports. Each feature is a check that holds in every cell.
//!
//! The table of it is in docs/eras.md. `WAYPOST_WRITE_DOCS=1 cargo test --test it the_table` writes
//! it anew.

mod calls;
mod cell;
mod changes;
mod greeting;
mod linker;
mod lists;
mod mended;
mod prompts;
mod questions;
mod resources;
mod running;
mod table;
mod tasks;

use cell::Cell;

/// Something that a client can see.
struct Feature {
    /// Its name in the table.
    name: &'static str,
    /// Shows that it works.
    works: fn(&mut Cell),
}

/// A cell of the matrix.
struct Place {
    client: cell::Side,
    upstream: cell::Side,
}

/// The features in the order of the table, and one test for each cell, which checks them all.
macro_rules! matrix {
    (
        features: $($name:literal = $works:expr;)+
        cells: $($cell:ident = $client:ident over $way:ident, $server:ident over $path:ident;)+
    ) => {
        const FEATURES: &[Feature] = &[$(
            Feature { name: $name, works: $works },
        )+];

        const PLACES: &[Place] = &[$(
            Place {
                client: (crate::support::Era::$client, crate::support::Over::$way),
                upstream: (crate::support::Era::$server, crate::support::Over::$path),
            },
        )+];

        $(
            #[test]
            fn $cell() {
                check(&Place {
                    client: (crate::support::Era::$client, crate::support::Over::$way),
                    upstream: (crate::support::Era::$server, crate::support::Over::$path),
                });
            }
        )+
    };
}

matrix! {
    features:
    "hello, `ping`, no method of the other era" = greeting::greets_in_its_own_era;
    "`tools/list`" = lists::tools;
    "`tools/list`: every keyword of a schema" = lists::schemas;
    "`tools/list`: annotations, output schemas" = lists::annotations;
    "`tools/call`: text" = calls::text;
    "`tools/call`: an image" = calls::image;
    "`tools/call`: sound" = calls::audio;
    "`tools/call`: an embedded resource" = calls::embedded;
    "`tools/call`: content of several kinds" = calls::mixed;
    "`tools/call`: structured content" = calls::structured;
    "`tools/call`: arguments byte for byte" = calls::arguments;
    "`tools/call`: a tool that fails" = calls::failing;
    "`tools/call`: errors, unknown tools" = calls::errors;
    "names without a prefix" = calls::transparent;
    "progress" = running::progress;
    "log messages from a level on" = running::logs;
    "cancellation" = running::cancellation;
    "`resources/list`, `resources/templates/list`" = lists::resources;
    "`resources/read`: text" = resources::text;
    "`resources/read`: bytes" = resources::bytes;
    "`resources/read`: what a template names" = resources::templated;
    "`resources/read`: what a result links to" = resources::linked;
    "`resources/read`: unknown" = resources::unknown;
    "`prompts/list`" = lists::prompts;
    "`prompts/get`: text" = prompts::text;
    "`prompts/get`: with arguments" = prompts::arguments;
    "`prompts/get`: with an embedded resource" = prompts::embedded;
    "`prompts/get`: with an image" = prompts::image;
    "`prompts/get`: unknown" = prompts::unknown;
    "`completion/complete`: for a prompt" = prompts::completion;
    "`completion/complete`: for a template" = resources::completion;
    "changes of the tools" = changes::tools;
    "changes of the prompts" = changes::prompts;
    "changes of the resources" = changes::resources;
    "changes of one resource" = changes::one_resource;
    "questions: elicitation" = questions::elicitation;
    "questions: sampling" = questions::sampling;
    "questions: roots" = questions::roots;
    "questions: several at once" = questions::several;
    "questions: one after the other" = questions::rounds;
    "questions: before a prompt" = questions::prompt;
    "questions: before a resource" = questions::resource;
    "tasks: a tool that runs only as one" = tasks::to_its_end;
    "tasks: their state, giving them up" = tasks::state;
    "extensions of servers" = greeting::extensions;

    cells:
    a_legacy_client_on_a_pipe_uses_a_legacy_child = Legacy over Stdio, Legacy over Stdio;
    a_legacy_client_on_a_pipe_uses_a_legacy_url = Legacy over Stdio, Legacy over Http;
    a_legacy_client_over_http_uses_a_legacy_child = Legacy over Http, Legacy over Stdio;
    a_legacy_client_over_http_uses_a_legacy_url = Legacy over Http, Legacy over Http;
    a_legacy_client_on_a_pipe_uses_a_modern_child = Legacy over Stdio, Modern over Stdio;
    a_legacy_client_on_a_pipe_uses_a_modern_url = Legacy over Stdio, Modern over Http;
    a_legacy_client_over_http_uses_a_modern_child = Legacy over Http, Modern over Stdio;
    a_legacy_client_over_http_uses_a_modern_url = Legacy over Http, Modern over Http;
    a_modern_client_on_a_pipe_uses_a_legacy_child = Modern over Stdio, Legacy over Stdio;
    a_modern_client_on_a_pipe_uses_a_legacy_url = Modern over Stdio, Legacy over Http;
    a_modern_client_over_http_uses_a_legacy_child = Modern over Http, Legacy over Stdio;
    a_modern_client_over_http_uses_a_legacy_url = Modern over Http, Legacy over Http;
    a_modern_client_on_a_pipe_uses_a_modern_child = Modern over Stdio, Modern over Stdio;
    a_modern_client_on_a_pipe_uses_a_modern_url = Modern over Stdio, Modern over Http;
    a_modern_client_over_http_uses_a_modern_child = Modern over Http, Modern over Stdio;
    a_modern_client_over_http_uses_a_modern_url = Modern over Http, Modern over Http;
}

/// Checks every feature in one cell. One that fails does not hide the next, which gets a new cell.
fn check(place: &Place) {
    let mut cell = Cell::new(place.client, place.upstream);
    let mut failed = Vec::new();
    for feature in FEATURES {
        let works = std::panic::AssertUnwindSafe(|| (feature.works)(&mut cell));
        let outcome = std::panic::catch_unwind(works);
        if outcome.is_err() {
            failed.push(feature.name);
            cell = Cell::new(place.client, place.upstream);
        }
    }
    assert!(failed.is_empty(), "see above: {failed:?}");
    cell.the_upstream_heard_its_own_era();
}
