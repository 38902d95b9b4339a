//! Texts of gateway.toml.

use crate::proc::MARK;

/// What every gateway of the suite has: none of the built-in tools that reach outside, no cache.
pub(crate) const BASE: &str = "[tools.weather]\nenabled = false\n[tools.context7]\nenabled = false\n[catalog]\ncache = false\n";

/// The operator's word on what a second run would do. Slow calls are as unsafe as those that append.
pub(crate) const EFFECTS: &str = "tools.effect = { ledger_read = \"read_only\", ledger_set = \"idempotent\", ledger_append = \"unsafe\", ledger_slow = \"unsafe\" }\n";

/// An upstream with these keys and replicas.
pub(crate) fn upstream(name: &str, keys: &str, replicas: &[String]) -> String {
    let table = |replica: &String| format!("[[upstreams.{name}.replicas]]\n{replica}\n");
    let tables = replicas.iter().map(table).collect::<Vec<_>>().concat();
    format!("[upstreams.{name}]\n{EFFECTS}{keys}\n{tables}")
}

/// A replica behind a port.
pub(crate) fn url(name: &str, port: u16) -> String {
    format!("name = {name:?}\nurl = \"http://127.0.0.1:{port}/mcp\"")
}

/// A replica that is a child process; all below it carry the mark.
pub(crate) fn command(name: &str, line: &[&str], mark: &str) -> String {
    let (program, args) = line.split_first().unwrap_or((&"", &[]));
    format!(
        "name = {name:?}\ncommand = {program:?}\nargs = {args:?}\nenv = {{ {MARK} = {mark:?} }}"
    )
}
