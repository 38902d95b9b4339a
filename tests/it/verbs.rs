//! The verbs of the binary as scripts use them: exit codes, what is on stdout, what is on stderr.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::initialize;
use crate::support::process::{WAYPOST, free_port};
use crate::support::{Gateway, StdioClient, eventually};

const DEFAULT: &str = include_str!("../../gateway.toml");
const SCHEMA: &str = include_str!("../../gateway.schema.json");

/// Nothing at the configured address, so that verbs run on their own; one child.
const ALONE: &str = r#"
[server]
port = 0
[upstreams.demo]
[[upstreams.demo.replicas]]
name = "a"
command = "waypost"
args = ["demo-server", "--stdio", "--name", "a"]
"#;

/// The variables that the gateway reads.
const VARIABLES: [&str; 7] = [
    "MCP_SERVER_HOST",
    "MCP_SERVER_PORT",
    "MCP_LOG_LEVEL",
    "MCP_TIMEOUT",
    "CONTEXT7_API_KEY",
    "CONTEXT7_API_URL",
    "RUST_LOG",
];

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// Runs a command to its end with this text on its stdin.
fn finish(command: &mut Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let code = eventually("a verb to end", || child.try_wait().unwrap());
    Ended {
        code: code.code().unwrap_or(-1),
        stdout: output.join().unwrap().unwrap(),
        stderr: errors.join().unwrap().unwrap(),
    }
}

/// A folder with a `gateway.toml`, in which verbs are run.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(config: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path());
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.env("XDG_CACHE_HOME", self.path().join("cache"));
        command
    }

    fn run(&self, args: &[&str]) -> Ended {
        finish(&mut self.command(WAYPOST, args), "")
    }
}

// === check, schema ===

#[test]
fn check_tells_a_good_file_in_one_line() {
    let place = Place::new(Some(ALONE));
    let good = place.run(&["check"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(good.lines(), ["gateway.toml: good (1 upstream, 1 replica, 0 warnings)"]);
    let json = place.run(&["check", "--json", "--offline"]);
    assert_eq!(json.code, 0);
    let expected = json!({ "ok": true, "file": "gateway.toml", "problems": [], "warnings": [] });
    assert_eq!(json.json(), expected);
    let nothing = Place::new(None).run(&["check"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(nothing.stdout.contains("good (1 upstream, 3 replicas, "), "{nothing:?}");
}

#[test]
fn check_names_every_problem_at_once_with_its_place() {
    let text = "[server]\nprot = 8000\n\n[upstreams.x]\nera = \"modrn\"\ntimeout = 5\n\
                [[upstreams.x.replicas]]\nurl = \"http://127.0.0.1:9/mcp\"\n";
    let place = Place::new(Some(text));
    let bad = place.run(&["check"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    let lines = bad.lines();
    let has = |begin: &str| lines.iter().any(|line| line.starts_with(begin));
    assert!(has("gateway.toml:2:1: server.prot: "), "{bad:?}");
    assert!(has("gateway.toml:5:7: upstreams.x.era: "), "{bad:?}");
    assert!(has("gateway.toml:6:11: upstreams.x.timeout: "), "{bad:?}");
    assert!(lines.iter().any(|line| line.contains("hint: ") && line.contains("port")), "{bad:?}");
    assert_eq!(lines.last(), Some(&"gateway.toml: 3 problems, 0 warnings"));

    let json = place.run(&["check", "--json"]);
    assert_eq!(json.code, 1);
    let report = json.json();
    assert_eq!(report["ok"], false);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3, "{report}");
    let prot = problems.iter().find(|problem| problem["key"] == "server.prot").unwrap();
    assert_eq!((&prot["origin"], &prot["file"]), (&json!("file"), &json!("gateway.toml")));
    assert_eq!((&prot["line"], &prot["column"]), (&json!(2), &json!(1)));
    assert!(prot["hint"].as_str().unwrap().contains("port"), "{prot}");

    // What check refuses, no other verb runs with.
    for args in [["serve", "--port=0"], ["stdio", "--config=gateway.toml"], ["list", "tools"]] {
        let refused = place.run(&args);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{args:?} {refused:?}");
        assert!(refused.stderr.contains("gateway.toml:2:1: server.prot: "), "{refused:?}");
    }
}

#[test]
fn check_names_variables_that_are_wrong_or_missing() {
    let place =
        Place::new(Some(&format!("{ALONE}env = {{ KEY = \"${{WAYPOST_TEST_NOT_SET}}\" }}\n")));
    let warned = place.run(&["check"]);
    assert_eq!(warned.code, 0, "{warned:?}");
    assert!(warned.stdout.contains("warning: ") && warned.stdout.contains("WAYPOST_TEST_NOT_SET"));
    let mut command = place.command(WAYPOST, &["check"]);
    let wrong = finish(command.env("MCP_SERVER_PORT", "eighty"), "");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stdout.contains("environment: MCP_SERVER_PORT: "), "{wrong:?}");
}

#[test]
fn usage_and_missing_files_have_their_own_exit_codes() {
    let place = Place::new(Some(ALONE));
    for args in [
        &["check", "--nonsense"][..],
        &["nonsense"],
        &["list", "nonsense"],
        &["call"],
        &["call", "echo", "message=x", "--args", "{}"],
        &["serve", "--port", "99999"],
    ] {
        let usage = place.run(args);
        assert_eq!((usage.code, usage.stdout.as_str()), (2, ""), "{args:?} {usage:?}");
        assert!(usage.stderr.starts_with("error: "), "{usage:?}");
    }
    let missing = place.run(&["check", "--config", "none.toml"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stdout.contains("none.toml: cannot be read: "), "{missing:?}");
    let version = place.run(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.trim()),
        (0, concat!("waypost ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn schema_prints_the_schema_of_the_repository() {
    let schema = Place::new(None).run(&["schema"]);
    assert_eq!(schema.code, 0);
    assert_eq!(schema.stdout.trim_end(), SCHEMA.trim_end());
    assert_eq!(schema.json()["type"], "object");
}

// === list, call, health ===

#[test]
fn list_shows_the_catalog_with_its_origin() {
    let place = Place::new(Some(ALONE));
    let list = place.run(&["list", "--json"]);
    assert_eq!(list.code, 0, "{list:?}");
    let tools = list.json();
    let origin = |name: &str| {
        let tool = tools.as_array().unwrap().iter().find(|tool| tool["name"] == name);
        tool.unwrap_or_else(|| panic!("{name} in {tools}"))["origin"].clone()
    };
    assert_eq!((origin("echo"), origin("demo__add")), (json!("built-in"), json!("demo")));
    let text = place.run(&["list"]);
    assert_eq!(text.code, 0);
    assert_eq!(text.lines().len(), tools.as_array().unwrap().len());
    assert!(text.lines()[0].starts_with("echo "), "{text:?}");
    for what in ["resources", "prompts"] {
        let empty = place.run(&["list", what]);
        assert_eq!((empty.code, empty.stdout.as_str()), (0, "(nothing)\n"));
        assert_eq!(place.run(&["list", what, "--json"]).json(), json!([]));
    }
}

#[test]
fn list_shows_upstreams_with_their_replicas() {
    let gone = free_port();
    let config = format!(
        "{ALONE}[[upstreams.demo.replicas]]\nname = \"gone\"\nurl = \"http://127.0.0.1:{gone}/mcp\"\n"
    );
    let place = Place::new(Some(&config));
    let list = place.run(&["list", "upstreams"]);
    assert_eq!(list.code, 0, "{list:?}");
    assert_eq!(list.lines().len(), 1);
    assert!(list.stdout.starts_with("demo  "), "{list:?}");
    assert!(list.stdout.contains("a up 2026-07-28, 0 in flight; gone down "), "{list:?}");
    let upstreams = place.run(&["list", "upstreams", "--json"]).json();
    assert_eq!(upstreams[0]["name"], "demo");
    assert_eq!(upstreams[0]["replicas"][0]["state"], "up");
    assert_eq!(upstreams[0]["replicas"][1]["name"], "gone");
}

#[test]
fn call_takes_pairs_or_json_and_tells_how_it_went() {
    let place = Place::new(Some(ALONE));
    let call = |args: &[&str]| place.run(&[&["call"], args].concat());
    let echo = call(&["echo", "message=two words"]);
    assert_eq!((echo.code, echo.stdout.as_str()), (0, "two words\n"), "{echo:?}");
    let sum = call(&["demo__add", "a=40", "b=2.5"]);
    assert_eq!((sum.code, sum.stdout.as_str()), (0, "42.5\n"), "{sum:?}");
    let json = call(&["demo__add", "--args", r#"{"a":1,"b":2}"#, "--json"]);
    assert_eq!(json.code, 0);
    assert_eq!(json.json()["structuredContent"], json!({ "sum": 3 }));
    let often = call(&["echo", "message=x", "--repeat", "3"]);
    assert_eq!((often.code, often.lines()), (0, vec!["x", "x", "x"]));

    // A result with isError is an answer to read; an error is no answer.
    let refused = call(&["echo", "message=1"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stdout.contains("`message`"), "{refused:?}");
    let unknown = call(&["demo__ad"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""), "{unknown:?}");
    assert!(unknown.stderr.contains("error -32602: "), "{unknown:?}");
    assert!(unknown.stderr.contains("demo__add"), "the nearest name: {unknown:?}");
    let unknown = call(&["demo__ad", "--json"]);
    assert_eq!((unknown.code, unknown.json()["code"].clone()), (1, json!(-32_602)));
    for (args, why) in [
        (["echo", "--args=[]"], "--args must be a JSON object"),
        (["echo", "--args={"], "--args is not JSON"),
        (["echo", "message"], "\"message\" is not key=value"),
    ] {
        let bad = call(&args);
        assert_eq!((bad.code, bad.stdout.as_str()), (1, ""), "{bad:?}");
        assert!(bad.stderr.contains(why), "{bad:?}");
    }
}

#[test]
fn verbs_use_a_running_gateway_by_its_address() {
    let gateway = Gateway::start(ALONE);
    let place = Place::new(None);
    let base = gateway.base.as_str();
    let calls = || {
        let metrics = crate::support::Http::send("GET", &format!("{base}/metrics"), &[], "").body;
        let key = r#"mcp_requests_total{tool_name="echo",status="success"} "#;
        metrics.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned()
    };
    eventually("the demo", || {
        place.run(&["list", "--url", base]).stdout.contains("demo__add").then_some(())
    });
    for url in [base.to_owned(), format!("{base}/"), gateway.url()] {
        let echo = place.run(&["call", "echo", "message=x", "--url", &url]);
        assert_eq!((echo.code, echo.stdout.as_str()), (0, "x\n"), "{echo:?}");
    }
    assert_eq!(calls(), "3");
    let upstreams = place.run(&["list", "upstreams", "--json", "--url", base]).json();
    assert_eq!(upstreams[0]["name"], "demo");
    assert_eq!(upstreams.as_array().unwrap().len(), 1);

    let health = place.run(&["health", "--url", base]);
    assert_eq!((health.code, &health.json()["status"]), (0, &json!("healthy")));
    // The same one, found at the configured address.
    let port = base.rsplit(':').next().unwrap();
    let mut command = place.command(WAYPOST, &["call", "echo", "message=y"]);
    let found = finish(command.env("MCP_SERVER_PORT", port), "");
    assert_eq!((found.code, found.stdout.as_str()), (0, "y\n"), "{found:?}");
    assert_eq!(calls(), "4");
    let mut command = place.command(WAYPOST, &["health"]);
    assert_eq!(finish(command.env("MCP_SERVER_PORT", port), "").code, 0);
}

#[test]
fn health_fails_where_nothing_or_nobody_well_answers() {
    let place = Place::new(None);
    let gone = free_port();
    let nothing = place.run(&["health", "--url", &format!("http://127.0.0.1:{gone}")]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""), "{nothing:?}");
    assert!(!nothing.stderr.is_empty());
    let sick = Gateway::start(&format!(
        "[upstreams.gone]\n[[upstreams.gone.replicas]]\nurl = \"http://127.0.0.1:{gone}/mcp\"\n"
    ));
    let ended = place.run(&["health", "--url", &sick.base]);
    assert_eq!((ended.code, &ended.json()["status"]), (1, &json!("unhealthy")));
}

#[test]
fn serve_says_which_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = Place::new(Some(ALONE)).run(&["serve", "--port", &port]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    assert!(refused.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{refused:?}");
    let public = Place::new(Some(ALONE)).run(&["serve", "--host", "0.0.0.0", "--port", "0"]);
    assert_eq!(public.code, 1, "{public:?}");
    assert!(public.stderr.contains("--insecure-public"), "{public:?}");
}

// === stdio ===

#[test]
fn the_line_for_trying_it_by_hand_prints_one_answer() {
    let line = r#"echo '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "test", "version": "1.0"}}}' | "$WAYPOST" stdio"#;
    let place = Place::new(None);
    let ended = finish(place.command("sh", &["-c", line]).env("WAYPOST", WAYPOST), "");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.lines().len(), 1, "{ended:?}");
    assert!(ended.stdout.contains(r#""protocolVersion":"2024-11-05""#), "{ended:?}");
    let answer = ended.json();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(1)));
    assert_eq!(answer["result"]["serverInfo"]["name"], "waypost");
}

#[test]
fn stdio_ends_within_a_second_of_its_input() {
    // The best of a few: a busy machine may be slow once.
    let took = (0..5).map(|_| {
        let mut pipe = StdioClient::start(DEFAULT);
        assert_eq!(pipe.handshake("2024-11-05")["result"]["protocolVersion"], "2024-11-05");
        let began = Instant::now();
        assert_eq!(pipe.close().0, 0);
        began.elapsed()
    });
    let times: Vec<Duration> = took.collect();
    assert!(times.iter().any(|took| *took < Duration::from_secs(1)), "{times:?}");
}

#[test]
fn stdout_carries_json_rpc_only_whatever_goes_wrong() {
    let gone = free_port();
    let config = format!(
        r#"
[upstreams.missing]
[[upstreams.missing.replicas]]
command = "no-such-program-anywhere"
[upstreams.babble]
[[upstreams.babble.replicas]]
command = "sh"
args = ["-c", "echo this is no JSON; echo nor is this >&2; exit 3"]
[upstreams.gone]
[[upstreams.gone.replicas]]
url = "http://127.0.0.1:{gone}/mcp"
[upstreams.demo]
[[upstreams.demo.replicas]]
command = "waypost"
args = ["demo-server", "--stdio", "--quirk", "banner"]
"#
    );
    let place = Place::new(Some(&config));
    let call = |id: u8, tool: &str, arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        )
    };
    let input = [
        initialize("2025-06-18"),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#.to_owned(),
        call(2, "echo", r#"{"message":"x"}"#),
        call(3, "gone__tool", "{}"),
        call(4, "demo__fail", r#"{"how":"exit"}"#),
        "this is no JSON either".to_owned(),
        "[]".to_owned(),
        String::new(),
        r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#.to_owned(),
    ];
    let mut command = place.command(WAYPOST, &["stdio"]);
    let ended = finish(command.env("MCP_LOG_LEVEL", "DEBUG"), &(input.join("\n") + "\n"));
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut answered = Vec::new();
    for line in ended.lines() {
        let message: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        let known = ["result", "error", "method"];
        assert!(known.iter().any(|key| message.get(key).is_some()), "{line}");
        answered.extend(message["id"].as_u64());
    }
    answered.sort_unstable();
    assert!(answered.starts_with(&[0]) && answered.ends_with(&[5]), "{ended:?}");
    assert!(answered.contains(&2), "{ended:?}");
    assert!(ended.stderr.contains("DEBUG"), "the log is on stderr: {ended:?}");
    assert!(!ended.stderr.contains('\u{1b}'), "colours without a terminal: {ended:?}");
    assert!(ended.stderr.contains("no-such-program-anywhere"), "{ended:?}");
}
