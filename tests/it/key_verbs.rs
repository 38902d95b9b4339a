//! The verbs that talk to a running gateway show it the key in `WAYPOST_KEY`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::keyed::{ALICE, gateway};
use crate::support::process::WAYPOST;
use crate::support::upstream::config;

/// Runs a verb to its end with these variables, where no upstream has to be started.
fn run(args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), config("")).unwrap();
    let Output { status, stdout, stderr } = Command::new(WAYPOST)
        .args(args)
        .current_dir(folder.path())
        .env_remove("WAYPOST_KEY")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_verb_shows_the_key_of_its_environment_or_says_what_to_set() {
    let gateway = gateway("", "");
    let url = gateway.base.as_str();
    let verbs: [&[&str]; 2] =
        [&["list", "--url", url], &["call", "echo", "message=x", "--url", url]];
    for verb in verbs {
        let (code, stdout, stderr) = run(verb, &[]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{verb:?} {stderr}");
        assert!(stderr.contains("asks for a key: set WAYPOST_KEY"), "{stderr}");
        let (code, stdout, stderr) = run(verb, &[("WAYPOST_KEY", "nobodys-Key-0123456789")]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{verb:?} {stderr}");
        assert!(stderr.contains("does not know the key in WAYPOST_KEY"), "{stderr}");
        assert!(!stderr.contains("nobodys-Key"), "{stderr}");
        let (code, stdout, stderr) = run(verb, &[("WAYPOST_KEY", ALICE)]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{verb:?} {stdout}");
        assert!(!stdout.is_empty());
    }
    let (code, _, stderr) = run(verbs[0], &[("WAYPOST_KEY", "a key\nof lines")]);
    assert!(
        code == 1 && stderr.contains("WAYPOST_KEY") && !stderr.contains("of lines"),
        "{stderr}"
    );
    // Nobody needs one for these.
    assert_eq!(run(&["health", "--url", url], &[]).0, 0);
    assert_eq!(run(&["list", "upstreams", "--url", url], &[]).0, 0);
    // The same one, found at the configured address.
    let port = url.rsplit(':').next().unwrap();
    let here = [("MCP_SERVER_PORT", port)];
    let (code, _, stderr) = run(&["call", "echo", "message=x"], &here);
    assert!(code == 1 && stderr.contains("set WAYPOST_KEY"), "{stderr}");
    let (code, stdout, _) = run(&["call", "echo", "message=x"], &[here[0], ("WAYPOST_KEY", ALICE)]);
    assert_eq!((code, stdout.as_str()), (0, "x\n"));
}

#[test]
fn what_is_no_waypost_is_not_shown_the_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let seen = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for socket in listener.incoming().take(2) {
            let mut socket = socket.unwrap();
            let mut head = [0; 4096];
            let read = socket.read(&mut head).unwrap();
            heads.push(String::from_utf8_lossy(&head[..read]).into_owned());
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        }
        heads
    });
    let variables = [("MCP_SERVER_PORT", port.as_str()), ("WAYPOST_KEY", ALICE)];
    assert_eq!(run(&["health"], &variables).0, 0);
    assert_eq!(run(&["call", "echo", "message=x"], &variables).0, 0, "it runs on its own");
    for head in seen.join().unwrap() {
        assert!(head.starts_with("GET /health ") && !head.contains("Key-"), "{head}");
    }
}
