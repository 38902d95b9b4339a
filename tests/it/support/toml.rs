//! The text of a gateway.toml, piece by piece.

/// `[upstreams.NAME]` with these lines of keys, and its replicas.
pub(crate) fn upstream(name: &str, keys: &str, replicas: &[String]) -> String {
    let table = |replica| format!("[[upstreams.{name}.replicas]]\n{replica}\n");
    let replicas: Vec<String> = replicas.iter().map(table).collect();
    format!("[upstreams.{name}]\n{keys}\n{}", replicas.concat())
}

/// A replica that is a demo server on stdio.
pub(crate) fn demo(args: &[&str]) -> String {
    command(&[&["waypost", "demo-server", "--stdio"], args].concat())
}

/// A replica that is a child process.
pub(crate) fn command(line: &[&str]) -> String {
    format!("command = {:?}\nargs = {:?}", line[0], &line[1..])
}

/// A replica behind a URL.
pub(crate) fn url(url: &str) -> String {
    format!("url = {url:?}")
}

/// The same replica under a name.
pub(crate) fn named(name: &str, replica: &str) -> String {
    format!("name = {name:?}\n{replica}")
}
