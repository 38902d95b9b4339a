//! Instruction counts of the hot path, by callgrind: repeatable on a busy machine, so that CI can
//! hold them. `cargo bench --bench counts` prints each count beside its limit and fails when one is
//! over; a limit is raised only with a reason.
//!
//! Each case runs in a process of its own, once with no and once with many rounds; the difference is
//! the cost of the rounds alone.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "a bench reports to people and may fail as a test may"
)]

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use waypost::base::clock;
use waypost::catalog::spec::{NamingSpec, OfferSpec};
use waypost::catalog::{Kind, Owner, PageSpec, Pages, Part, Scopes, Source, merge};
use waypost::fleet::pick::{Ask, Candidate, Field, balancer, choose};
use waypost::fleet::spec::Balance;
use waypost::fleet::vital::{Level, Seen, Vital};
use waypost::proto::answer::{Incoming, Reader, mend, read};
use waypost::proto::envelope::split;
use waypost::proto::passage::Passage;
use waypost::proto::{Abilities, Era, Version, ladder};
use waypost::upstream::exchange::{Caller, Dialect, Mirrored, Request, Subject, prepare};

/// A case: its name, how often it runs, and the most instructions one round may take.
struct Case {
    name: &'static str,
    rounds: u32,
    limit: u64,
    run: fn(u32),
}

const CASES: &[Case] = &[
    Case { name: "scan: a call of 250 bytes", rounds: 1_000, limit: LIMITS[0], run: scan_small },
    Case { name: "scan: a call of 16 KiB", rounds: 200, limit: LIMITS[1], run: scan_large },
    Case {
        name: "judge: the ladder of a modern call",
        rounds: 1_000,
        limit: LIMITS[2],
        run: judge,
    },
    Case {
        name: "splice: legacy call to legacy upstream",
        rounds: 1_000,
        limit: LIMITS[3],
        run: splice_legacy,
    },
    Case {
        name: "splice: legacy call to modern upstream",
        rounds: 1_000,
        limit: LIMITS[4],
        run: splice_across,
    },
    Case {
        name: "answer: 250 bytes, mended for modern",
        rounds: 1_000,
        limit: LIMITS[5],
        run: answer_small,
    },
    Case {
        name: "answer: 1 MiB of text, mended for modern",
        rounds: 10,
        limit: LIMITS[6],
        run: answer_large,
    },
    Case { name: "route: one name among 500", rounds: 1_000, limit: LIMITS[7], run: route },
    Case { name: "list: the rendered page of 500 tools", rounds: 50, limit: LIMITS[8], run: list },
    Case {
        name: "merge: 10 upstreams of 50 tools, rendered",
        rounds: 5,
        limit: LIMITS[9],
        run: merge_all,
    },
    Case {
        name: "passage: 1 MiB of text, streamed to modern",
        rounds: 10,
        limit: LIMITS[10],
        run: passage_text,
    },
    Case {
        name: "passage: 1 MiB of text, streamed to legacy",
        rounds: 10,
        limit: LIMITS[11],
        run: passage_text_legacy,
    },
    Case {
        name: "passage: 1 MiB full of escapes",
        rounds: 10,
        limit: LIMITS[12],
        run: passage_escapes,
    },
    Case {
        name: "passage: 1 MiB of small members",
        rounds: 10,
        limit: LIMITS[13],
        run: passage_members,
    },
    Case { name: PICK, rounds: 10_000, limit: LIMITS[14], run: pick },
];

/// The case that must not allocate.
const PICK: &str = "pick: one of 100 replicas, by `auto`";

/// Measured, plus a fifth: hash tables are seeded anew in every process, so a few counts move a
/// little.
const LIMITS: [u64; 15] = [
    9_300, 156_000, 1_700, 2_000, 5_300, 5_350, 2_020_000, 560, 225_000, 36_000_000, 790_000,
    790_000, 17_800_000, 28_000_000, 4_750,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(place) = args.iter().position(|arg| arg == "--case") {
        let case = &CASES[args[place + 1].parse::<usize>().unwrap()];
        (case.run)(args[place + 2].parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS; // compiled by `cargo test --all-targets`
    }
    let mut over = 0;
    println!("{:44} {:>14} {:>14}", "instructions a round", "count", "limit");
    for (place, case) in CASES.iter().enumerate() {
        let count = (counted(place, case.rounds) - counted(place, 0)) / u64::from(case.rounds);
        let verdict = if count > case.limit { "OVER" } else { "" };
        over += u32::from(count > case.limit);
        println!("{:44} {count:>14} {:>14} {verdict}", case.name, case.limit);
    }
    let place = CASES.iter().position(|case| case.name == PICK).unwrap();
    let allocated = allocations(place, CASES[place].rounds) - allocations(place, 0);
    let verdict = if allocated > 0 { "OVER" } else { "" };
    over += u32::from(allocated > 0);
    println!("{:44} {allocated:>14} {:>14} {verdict}", "allocations of all its rounds", 0);
    println!("counts: {} passed, {over} failed", CASES.len() + 1 - usize::try_from(over).unwrap());
    if over == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The instructions of a whole process that runs a case so many times.
fn counted(place: usize, rounds: u32) -> u64 {
    let text = valgrind(&["--tool=callgrind", "--callgrind-out-file=/dev/null"], (place, rounds));
    let line = text.lines().find(|line| line.contains("Collected :"));
    let count = line.and_then(|line| line.split(':').nth(1)?.trim().parse().ok());
    count.unwrap_or_else(|| panic!("valgrind said nothing of its count: {text}"))
}

/// The blocks on the heap that it ever takes.
fn allocations(place: usize, rounds: u32) -> u64 {
    let text = valgrind(&["--tool=dhat", "--dhat-out-file=/dev/null"], (place, rounds));
    let line = text.lines().find(|line| line.contains("Total:"));
    let blocks = line.and_then(|line| line.split(" in ").nth(1)?.split(' ').next());
    let count = blocks.and_then(|blocks| blocks.replace(',', "").parse().ok());
    count.unwrap_or_else(|| panic!("valgrind said nothing of the heap: {text}"))
}

/// What it says of a whole process that runs a case so many times.
fn valgrind(tool: &[&str], (place, rounds): (usize, u32)) -> String {
    let output = Command::new("valgrind")
        .args(tool)
        .arg(std::env::current_exe().unwrap())
        .args(["--case", &place.to_string(), &rounds.to_string()])
        .output()
        .expect("valgrind is needed for instruction counts; Debian's package is called valgrind");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn small() -> Bytes {
    Bytes::from(
        r#"{"jsonrpc":"2.0","id":4711,"method":"tools/call","params":{"name":"u3__tool_17","arguments":{"path":"/srv/data/report.txt","limit":100,"deep":{"flag":true,"list":[1,2,3]}},"_meta":{"progressToken":7,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}"#,
    )
}

fn modern() -> Bytes {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":4711,"method":"tools/call","params":{{"name":"u3__tool_17","arguments":{{"limit":100}},{META}}}}}"#
    );
    Bytes::from(text)
}

fn scan(text: &Bytes, rounds: u32) {
    for _ in 0..rounds {
        black_box(split(black_box(text)).unwrap());
    }
}

fn scan_small(rounds: u32) {
    scan(&small(), rounds);
}

fn scan_large(rounds: u32) {
    let member =
        |i: u32| format!(r#""key_{i}":{{"text":"{}","number":{i}}}"#, "plain text ".repeat(8));
    let members: Vec<String> = (0..128).map(member).collect();
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{{{}}}}}}}"#,
        members.join(",")
    );
    scan(&Bytes::from(text), rounds);
}

fn judge(rounds: u32) {
    let text = modern();
    let shape = split(&text).unwrap();
    let head = ladder::Head {
        version: ladder::Header::One(b"2026-07-28"),
        method: ladder::Header::One(b"tools/call"),
        name: ladder::Header::One(b"u3__tool_17"),
    };
    for _ in 0..rounds {
        let era = ladder::era(black_box(&text), &shape, Some(&head)).unwrap();
        ladder::modern(black_box(&text), &shape, Some(&head)).unwrap();
        black_box(era);
    }
}

fn splice(version: Version, rounds: u32) {
    let text = small();
    let shape = split(&text).unwrap();
    let caller = Caller {
        who: None,
        era: Era::Legacy,
        capabilities: Bytes::from_static(b"{}"),
        info: Some(Bytes::from_static(br#"{"name":"bench","version":"1"}"#)),
        log_level: None,
        abilities: Abilities::NONE,
        key: 0,
        home: 0,
        mail: None,
    };
    let subject = shape.name.map(|span| Subject { span, name: "tool_17" });
    let request = Request {
        body: &text,
        shape: &shape,
        subject,
        caller: &caller,
        mirrored: Mirrored::Schema(&[]),
    };
    let dialect = Dialect { era: version.era(), version, shared: version.era() == Era::Legacy };
    for number in 0..rounds {
        black_box(prepare(black_box(&request), dialect, u64::from(number)));
    }
}

fn splice_legacy(rounds: u32) {
    splice(Version::V2025_11_25, rounds);
}

fn splice_across(rounds: u32) {
    splice(Version::V2026_07_28, rounds);
}

fn answer(size: usize, rounds: u32) {
    let words = "all work and no play ".repeat(size / 21 + 1);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":9,"result":{{"content":[{{"type":"text","text":"{}"}}],"structuredContent":{{"n":1}}}}}}"#,
        &words[..size]
    );
    let text = Bytes::from(text);
    for _ in 0..rounds {
        let Incoming::Answer(answer) = read(black_box(&text)).unwrap() else { panic!("an answer") };
        let reader = Reader { id: b"4711", era: Era::Modern, cacheable: false };
        black_box(mend(&text, &answer, reader));
    }
}

fn answer_small(rounds: u32) {
    answer(160, rounds);
}

fn answer_large(rounds: u32) {
    answer(1024 * 1024, rounds);
}

/// Streams an answer of about 1 MiB, as the pieces that a socket gives.
fn passage(content: &str, client: Era, rounds: u32) {
    let text = Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":9,"result":{{"content":[],"structuredContent":{content}}}}}"#
    ));
    for _ in 0..rounds {
        let mut passage = Passage::new(b"9", b"4711", client);
        let mut rest = black_box(text.clone());
        while !rest.is_empty() {
            let mut out = SmallVec::new();
            passage.push(rest.split_to(rest.len().min(32 * 1024)), &mut out).unwrap();
            black_box(out);
        }
        black_box(passage.finish().unwrap());
    }
}

const MIB: usize = 1024 * 1024;

fn plain_text() -> String {
    format!(r#"{{"text":"{}"}}"#, "all work and no play ".repeat(MIB / 21))
}

fn passage_text(rounds: u32) {
    passage(&plain_text(), Era::Modern, rounds);
}

fn passage_text_legacy(rounds: u32) {
    passage(&plain_text(), Era::Legacy, rounds);
}

fn passage_escapes(rounds: u32) {
    let text = format!(r#"{{"text":"{}"}}"#, r#"a \"word\"\n"#.repeat(MIB / 14));
    passage(&text, Era::Modern, rounds);
}

fn passage_members(rounds: u32) {
    let member = |i: usize| format!(r#"{{"key_{i}":{i},"flag":true,"a":[{{"b":"c"}}]}}"#);
    let members: Vec<String> = (100_000..100_000 + MIB / 52).map(member).collect();
    passage(&format!(r#"{{"list":[{}]}}"#, members.join(",")), Era::Modern, rounds);
}

fn parts() -> Vec<Part> {
    let tool = |i: usize| {
        Bytes::from(format!(
            r#"{{"name":"tool_{i}","description":"{}","inputSchema":{{"type":"object","properties":{{"path":{{"type":"string","description":"where"}},"limit":{{"type":"integer"}}}},"required":["path"]}}}}"#,
            "Reads a part of a file and answers it as text. ".repeat(4)
        ))
    };
    (0..10).map(|_| Part { tools: (0..50).map(tool).collect(), ..Part::default() }).collect()
}

fn merged() -> waypost::catalog::Catalog {
    let parts = parts();
    let offers: Vec<OfferSpec> = (0..10).map(|i| OfferSpec::all(&format!("u{i}"))).collect();
    let sources: Vec<Source<'_>> = parts
        .iter()
        .zip(&offers)
        .enumerate()
        .map(|(i, (part, offer))| Source { owner: Owner::Upstream(i), offer, part: Some(part) })
        .collect();
    merge(&NamingSpec::default(), &sources).catalog
}

fn rendered(catalog: &waypost::catalog::Catalog) -> Pages {
    let server_info =
        RawValue::from_string(r#"{"name":"waypost","version":"1"}"#.to_owned()).unwrap();
    Pages::render(catalog, &PageSpec { scopes: Scopes::default(), server_info: &server_info })
}

fn route(rounds: u32) {
    let catalog = merged();
    for _ in 0..rounds {
        black_box(catalog.lookup(black_box("u3__tool_17")));
    }
}

fn list(rounds: u32) {
    let pages = rendered(&merged());
    for _ in 0..rounds {
        let cursor = black_box(None);
        black_box(pages.message(Kind::Tools, Era::Modern, cursor, b"4711", 60_000)).unwrap();
    }
}

fn merge_all(rounds: u32) {
    for _ in 0..rounds {
        black_box(rendered(&merged()));
    }
}

/// A hundred replicas, as a pool shows them to its balancer.
struct Fleet {
    vitals: Vec<Vital>,
    now: Instant,
}

impl Field for Fleet {
    fn len(&self) -> usize {
        self.vitals.len()
    }

    fn at(&self, place: usize) -> Option<Candidate> {
        let seen = Seen { up: true, suspect: false, phase: waypost::upstream::nap::Phase::Awake };
        self.vitals[place].candidate(Level::Well, seen, self.now)
    }

    fn heaviest(&self) -> f32 {
        1.0
    }
}

fn pick(rounds: u32) {
    let start = clock::now();
    let vitals: Vec<_> = (0..100).map(|_| Vital::new((1, 0), 1.0, start)).collect();
    for (nth, vital) in (0_u16..).zip(&vitals) {
        (0..nth % 4).for_each(|_| vital.load.begin());
        vital.load.record(f32::from(nth % 7), start);
    }
    let fleet = Fleet { vitals, now: start + Duration::from_secs(3) };
    let rule = balancer(&Balance::Auto);
    for draw in 0..u64::from(rounds) {
        let ask = Ask { draw, key: None, long: false };
        let room = |place: usize| fleet.vitals[place].load.busy() < 64;
        black_box(choose(rule.as_ref(), black_box(&fleet), &room, &ask));
    }
}
