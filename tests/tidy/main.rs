//! The wall between the floors, and the house rules that no compiler checks. It reads the sources
//! as text. Each rule is a function from texts to complaints, with two tests: that the sources of
//! this crate keep it, and that it bites.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail as the test may")]

mod defaults;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Modules of the crate from the lowest floor up: name, floor, what it may import. `X::spec` stands
/// for the module `spec` of `X` and nothing else of it.
const FLOORS: &[(&str, u8, &[&str])] = &[
    ("base", 0, &[]),
    ("proto", 1, &["base"]),
    ("telemetry", 1, &["base"]),
    ("egress", 2, &["telemetry", "base"]),
    ("store", 2, &["telemetry", "base"]),
    ("catalog", 3, &["proto", "base"]),
    ("upstream", 3, &["egress", "store", "proto", "telemetry", "base"]),
    ("builtin", 4, &["egress", "store", "catalog", "proto", "telemetry", "base"]),
    ("fleet", 4, &["upstream", "proto", "telemetry", "base"]),
    (
        "gateway",
        5,
        &["fleet", "builtin", "catalog", "upstream", "store", "proto", "telemetry", "base"],
    ),
    ("admin", 6, &["gateway", "egress", "store", "proto", "telemetry", "base"]),
    // `upstream` for the `Caller` that a call carries, and for the names of headers.
    ("front", 6, &["gateway", "upstream", "egress", "store", "proto", "telemetry", "base"]),
    (
        "config",
        7,
        &[
            "admin::spec",
            "front::spec",
            "gateway::spec",
            "fleet::spec",
            "builtin::spec",
            "catalog::spec",
            "upstream::spec",
            "store::spec",
            "telemetry::spec",
            "proto",
            "base",
        ],
    ),
    (
        "app",
        8,
        &[
            "config",
            "front",
            "admin",
            "gateway",
            "fleet",
            "builtin",
            "catalog",
            "upstream",
            "store",
            "egress",
            "telemetry",
            "proto",
            "base",
        ],
    ),
];

/// What a pure file must not say: I/O, async, the clock, chance.
const IMPURE: &[&str] = &[
    "tokio::",
    ".await",
    "async",
    "Instant::now",
    "SystemTime",
    "clock::now",
    "rand::",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "TcpStream",
    "tracing::",
];

/// Modules of `std` that a pure file must not import in a group either.
const IMPURE_STD: &[&str] = &["fs", "env", "thread", "process", "net"];

/// Why a test may be left out of a plain run.
const IGNORED_BECAUSE: &[&str] = &["a process of its own, for the test above"];

// === sources ===

/// One source file.
#[derive(Clone, Debug)]
struct Source {
    /// From the root of the crate, with slashes.
    path: String,
    text: String,
    /// The text with comments, strings and characters blanked; same length, same lines.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// The modules the file stands in: `src/front/mcp.rs` is `front`, `mcp`; a root is nothing.
    fn modules(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.split('/').filter(|part| !matches!(*part, "lib" | "main")).collect()
    }

    fn line(&self, at: usize) -> usize {
        self.code.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }

    fn complain(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.line(at))
    }
}

/// Every file with this ending below these folders, sorted by path.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > folders.len(), "no sources below {folders:?}");
    found
}

#[track_caller]
fn nothing(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Blanks comments and what stands in quotes. Line breaks stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let skip = opaque(rest, bytes.get(..at).and_then(<[u8]>::last).copied());
        let take = skip.max(1);
        for byte in rest.iter().take(take) {
            out.push(if skip > 0 && *byte != b'\n' { b' ' } else { *byte });
        }
        at += take;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 = code.
fn opaque(rest: &[u8], before: Option<u8>) -> usize {
    if rest.starts_with(b"//") {
        return rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment(rest);
    }
    if before.is_some_and(is_word) {
        // The end of a name: no prefix of a literal, and no quote of its own.
        return if rest.starts_with(b"\"") { quoted(rest, b'"') } else { 0 };
    }
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
    let raw = rest.iter().take(prefix).any(|byte| *byte == b'r');
    let tail = rest.get(prefix..).unwrap_or_default();
    let hashes = tail.iter().take_while(|byte| **byte == b'#').count();
    let quote = tail.get(hashes).copied();
    match quote {
        Some(b'"') if raw => prefix + hashes + raw_end(tail, hashes),
        Some(b'"') if hashes == 0 => prefix + quoted(tail, b'"'),
        Some(b'\'') if hashes == 0 && prefix <= 1 => match character(tail) {
            0 => 0,
            length => prefix + length,
        },
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a literal with escapes that begins with `quote`.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match *byte {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string from its hashes' end on, with its quotes and closing hashes.
fn raw_end(tail: &[u8], hashes: usize) -> usize {
    let body = tail.get(hashes + 1..).unwrap_or_default();
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let length = body.windows(end.len()).position(|window| window == end.as_slice());
    length.map_or(tail.len() - hashes, |length| 1 + length + end.len())
}

/// The length of a character literal; 0 for a lifetime.
fn character(tail: &[u8]) -> usize {
    let text = String::from_utf8_lossy(tail.get(1..).unwrap_or_default());
    let mut chars = text.chars();
    match chars.next() {
        Some('\\') => quoted(tail, b'\''),
        Some(one) if chars.next() == Some('\'') => 2 + one.len_utf8(),
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

// === tokens ===

/// A name, `::`, or any other single character that is no space.
#[derive(Clone, Copy, Debug)]
struct Token<'s> {
    text: &'s str,
    at: usize,
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let word = rest.bytes().take_while(|byte| is_word(*byte)).count();
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => first,
            word => word,
        };
        let text = rest.get(..length).unwrap_or_default();
        if !text.trim().is_empty() {
            found.push(Token { text, at });
        }
        at += length;
    }
    found
}

fn text<'s>(tokens: &[Token<'s>], at: usize) -> &'s str {
    tokens.get(at).map_or("", |token| token.text)
}

/// The index behind the bracket that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

// === imports ===

/// A path from the root of the crate: its first two names.
#[derive(Clone, Debug)]
struct Import<'s> {
    head: &'s str,
    next: &'s str,
    at: usize,
}

/// Every path that begins at the root of the crate, by `crate::` or by enough `super::`.
fn imports(source: &Source) -> Vec<Import<'_>> {
    let tokens = tokens(&source.code);
    let depth = source.modules().len();
    let mut found = Vec::new();
    // Where the inline modules that we are in end.
    let mut inline: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        inline.retain(|end| at < *end);
        if text(&tokens, at) == "mod" && text(&tokens, at + 2) == "{" {
            inline.push(closing(&tokens, at + 2));
        }
        let starts = at == 0 || text(&tokens, at - 1) != "::";
        let root = match text(&tokens, at) {
            "crate" if starts => at + 1,
            "super" if starts => {
                let supers = (0..=depth + inline.len())
                    .take_while(|n| text(&tokens, at + 2 * n) == "super")
                    .count();
                at += 2 * (supers - 1);
                if supers < depth + inline.len() {
                    at += 1;
                    continue;
                }
                at + 1
            }
            _ => {
                at += 1;
                continue;
            }
        };
        at += 1;
        // `pub(crate)` is no path.
        if text(&tokens, root) == "::" {
            heads(&tokens, root + 1, &mut found);
        } else if text(&tokens, root) == "as" {
            found.push(Import { head: "*", next: "", at: tokens.get(root).map_or(0, |t| t.at) });
        }
    }
    found
}

/// The names that a path or a group of paths at `at` begins with.
fn heads<'s>(tokens: &[Token<'s>], at: usize, found: &mut Vec<Import<'s>>) {
    let Some(token) = tokens.get(at) else { return };
    if token.text != "{" {
        let next = if text(tokens, at + 1) == "::" { text(tokens, at + 2) } else { "" };
        found.push(Import { head: token.text, next, at: token.at });
        if next == "{" {
            // `front::{spec, mcp}`: each one counts on its own.
            let mut inner = Vec::new();
            heads(tokens, at + 2, &mut inner);
            found.pop();
            let whole = |one: Import<'s>| Import { head: token.text, next: one.head, at: one.at };
            found.extend(inner.into_iter().map(whole));
        }
        return;
    }
    let end = closing(tokens, at);
    let mut place = at + 1;
    while place + 1 < end {
        heads(tokens, place, found);
        // On to what stands behind the next comma of this group.
        while place + 1 < end && text(tokens, place) != "," {
            place = if text(tokens, place) == "{" { closing(tokens, place) } else { place + 1 };
        }
        place += 1;
    }
}

fn floor(module: &str) -> Option<(u8, &'static [&'static str])> {
    FLOORS.iter().find(|(name, ..)| *name == module).map(|(_, floor, may)| (*floor, *may))
}

/// (a) A module imports lower floors only, and of them only what its row of the table names.
fn upward_imports(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let modules = source.modules();
        let Some(own) = modules.first() else { continue };
        let Some((_, may)) = floor(own) else {
            complaints.push(format!("{}:1: the module {own} stands on no floor", source.path));
            continue;
        };
        for import in imports(source) {
            let head = import.head;
            if head == *own {
                continue;
            }
            let whole = may.contains(&head);
            let part = may.contains(&format!("{head}::{}", import.next).as_str());
            let may_all = may.join(", ");
            if head == "*" || head == "self" {
                complaints.push(source.complain(import.at, "the whole crate is imported"));
            } else if floor(head).is_none() {
                let what = format!("{own} imports {head}, which stands on no floor");
                complaints.push(source.complain(import.at, &what));
            } else if !whole && !part {
                let what = format!(
                    "{own} imports {head}::{}; it may import: {may_all}",
                    import.next.trim_start_matches('{')
                );
                complaints.push(source.complain(import.at, &what));
            }
        }
    }
    complaints
}

/// (a) and (d) Every module of lib.rs stands on a floor, and their lines go up floor by floor.
fn modules_in_order(lib: &Source) -> Vec<String> {
    let tokens = tokens(&lib.code);
    let mut complaints = Vec::new();
    let mut reached = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.text != "mod" || !matches!(text(&tokens, at + 2), ";" | "{") {
            continue;
        }
        let name = text(&tokens, at + 1);
        match floor(name) {
            None => {
                let what = format!("the module {name} stands on no floor");
                complaints.push(lib.complain(token.at, &what));
            }
            Some((floor, _)) if floor < reached => {
                let what = format!("{name} (floor {floor}) stands behind a module of {reached}");
                complaints.push(lib.complain(token.at, &what));
            }
            Some((floor, _)) => reached = floor,
        }
    }
    if reached == 0 {
        complaints.push(format!("{}:1: there are no modules", lib.path));
    }
    complaints
}

/// (e) No top-level module reaches itself through others.
fn cycles(sources: &[Source]) -> Vec<String> {
    let mut edges: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for source in sources {
        let modules = source.modules();
        let Some(own) = modules.first() else { continue };
        for import in imports(source) {
            if import.head != *own {
                let place = || source.complain(import.at, &format!("{own} -> {}", import.head));
                edges.entry(own).or_default().entry(import.head).or_insert_with(place);
            }
        }
    }
    let mut complaints = Vec::new();
    for start in edges.keys() {
        if let Some(way) = way_back(&edges, start) {
            complaints.push(format!("{start} reaches itself:\n  {}", way.join("\n  ")));
        }
    }
    complaints
}

/// The shortest way from a module back to itself.
fn way_back(edges: &BTreeMap<&str, BTreeMap<&str, String>>, start: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = std::collections::VecDeque::from([(start, Vec::new())]);
    while let Some((from, way)) = ways.pop_front() {
        for (to, place) in edges.get(from).into_iter().flatten() {
            let mut way: Vec<String> = way.clone();
            way.push(place.clone());
            if *to == start {
                return Some(way);
            }
            if seen.insert(*to) {
                ways.push_back((to, way));
            }
        }
    }
    None
}

// === purity, headers, words ===

/// The code with every item under `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    let all = tokens(code);
    let mut out = code.as_bytes().to_vec();
    let cfg_test = ["#", "[", "cfg", "(", "test", ")", "]"];
    for at in 0..all.len() {
        if (0..cfg_test.len()).any(|n| cfg_test.get(n) != Some(&text(&all, at + n))) {
            continue;
        }
        let mut end = at + cfg_test.len();
        while end < all.len() && !matches!(text(&all, end), ";" | "{") {
            let open = matches!(text(&all, end), "(" | "[");
            end = if open { closing(&all, end) } else { end + 1 };
        }
        end = if text(&all, end) == "{" { closing(&all, end) } else { end + 1 };
        let from = all.get(at).map_or(0, |token| token.at);
        let to = all.get(end).map_or(code.len(), |token| token.at);
        for byte in out.iter_mut().take(to).skip(from).filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// (b) A file that says `//! Pure` is pure.
fn impure(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.text.starts_with("//! Pure")) {
        let code = without_tests(&source.code);
        for word in IMPURE {
            for (at, _) in code.match_indices(word) {
                let inside = |byte: Option<&u8>| byte.is_some_and(|byte| is_word(*byte));
                let begins = word.starts_with('.')
                    || !inside(code.as_bytes().get(..at).and_then(<[u8]>::last));
                let ends = word.ends_with(':') || !inside(code.as_bytes().get(at + word.len()));
                if begins && ends {
                    complaints.push(source.complain(at, &format!("a pure file says {word}")));
                }
            }
        }
        let all = tokens(&code);
        for at in 0..all.len() {
            if (text(&all, at), text(&all, at + 1), text(&all, at + 2)) != ("std", "::", "{") {
                continue;
            }
            let mut found = Vec::new();
            heads(&all, at + 2, &mut found);
            for import in found.iter().filter(|import| IMPURE_STD.contains(&import.head)) {
                let what = format!("a pure file imports std::{}", import.head);
                complaints.push(source.complain(import.at, &what));
            }
        }
    }
    complaints
}

/// (c) A file begins by saying what it is.
fn headless(sources: &[Source]) -> Vec<String> {
    let says = |source: &&Source| {
        let first = source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty())
    };
    let silent = sources.iter().filter(|source| !says(source));
    silent
        .map(|source| format!("{}:1: a file begins with //! and what it is", source.path))
        .collect()
}

/// (f) Every metric has its place on the page about metrics.
fn unnamed_metrics(names: &Source, page: &str) -> Vec<String> {
    let on_page: BTreeSet<&str> =
        page.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let mut complaints = Vec::new();
    let mut any = false;
    for (at, _) in names.text.match_indices("\"mcp_") {
        let name =
            names.text.get(at + 1..).unwrap_or_default().split('"').next().unwrap_or_default();
        any = true;
        if !on_page.contains(name) {
            complaints.push(names.complain(at, &format!("{name} is not in docs/metrics.md")));
        }
    }
    if !any {
        complaints.push(format!("{}:1: there are no metric names", names.path));
    }
    complaints
}

/// (g) No test is left out, nothing is left to do, no lint is switched off without a word.
fn left_out(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let all = tokens(&source.code);
        for (at, token) in all.iter().enumerate() {
            if matches!(token.text, "todo" | "unimplemented") && text(&all, at + 1) == "!" {
                complaints.push(source.complain(token.at, &format!("{}! is left", token.text)));
            }
            let inner = usize::from(text(&all, at + 1) == "!");
            if token.text != "#" || text(&all, at + 1 + inner) != "[" {
                continue;
            }
            let open = at + 1 + inner;
            for place in open..closing(&all, open) {
                let words = (text(&all, place), text(&all, place + 1));
                let begin = all.get(place).map_or(0, |token| token.at);
                if words == ("allow", "(") {
                    let what = "use #[expect(…, reason = \"…\")] instead of #[allow(…)]";
                    complaints.push(source.complain(begin, what));
                }
                if words.0 == "ignore" && !ignored_well(source, begin) {
                    let what = "a test is left out for a reason that this file does not list";
                    complaints.push(source.complain(begin, what));
                }
            }
        }
    }
    complaints
}

fn ignored_well(source: &Source, at: usize) -> bool {
    let rest = source.text.get(at..).unwrap_or_default();
    let reason = rest.strip_prefix("ignore = \"").and_then(|rest| rest.split('"').next());
    reason.is_some_and(|reason| IGNORED_BECAUSE.contains(&reason))
}

// === the sources keep the rules ===

#[test]
fn a_module_imports_lower_floors_only() {
    nothing(&upward_imports(&sources(&["src"])));
}

#[test]
fn the_modules_of_the_crate_stand_in_the_order_of_their_floors() {
    let all = sources(&["src"]);
    nothing(&modules_in_order(all.iter().find(|source| source.path == "src/lib.rs").unwrap()));
}

#[test]
fn no_module_reaches_itself() {
    nothing(&cycles(&sources(&["src"])));
}

#[test]
fn pure_files_are_pure() {
    let all = sources(&["src"]);
    let pure = all.iter().filter(|source| source.text.starts_with("//! Pure")).count();
    assert!(pure > 20, "only {pure} files say that they are pure");
    nothing(&impure(&all));
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    nothing(&headless(&sources(&["src", "tests", "benches", "examples"])));
}

#[test]
fn every_metric_is_on_the_page_about_metrics() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let Ok(page) = std::fs::read_to_string(page) else { return };
    let all = sources(&["src/telemetry"]);
    let names = all.iter().find(|source| source.path.ends_with("names.rs")).unwrap();
    nothing(&unnamed_metrics(names, &page));
}

#[test]
fn nothing_is_left_out_or_left_to_do() {
    nothing(&left_out(&sources(&["src", "tests"])));
}

// === the rules bite ===

#[track_caller]
fn bites(complaints: &[String], expected: &[&str]) {
    let mut shown = String::new();
    for complaint in complaints {
        writeln!(shown, "{complaint}").unwrap();
    }
    assert_eq!(complaints.len(), expected.len(), "{shown}");
    for part in expected {
        assert!(complaints.iter().any(|complaint| complaint.contains(part)), "{part}: {shown}");
    }
}

#[test]
fn the_table_of_floors_points_down() {
    for (module, own, may) in FLOORS {
        for target in *may {
            let name = target.split("::").next().unwrap();
            assert!(floor(name).unwrap().0 < *own, "{module} -> {target}");
        }
    }
}

#[test]
fn upward_imports_are_found_in_every_spelling() {
    let source = |path, text| [Source::new(path, text)];
    let find = |path, text| upward_imports(&source(path, text));
    bites(
        &find("src/proto/id.rs", "use crate::base::X;\nuse crate::gateway::Y;\n"),
        &["src/proto/id.rs:2: proto imports gateway::Y"],
    );
    bites(
        &find("src/proto/id.rs", "use crate::telemetry::Meters;"),
        &[":1: proto imports telemetry"],
    );
    bites(&find("src/telemetry/a.rs", "use crate::proto::Id;"), &["telemetry imports proto"]);
    bites(&find("src/catalog/a.rs", "use crate::upstream::Link;"), &["catalog imports upstream"]);
    bites(&find("src/upstream/a.rs", "use crate::catalog::Part;"), &["upstream imports catalog"]);
    bites(&find("src/admin/mod.rs", "use crate::front::mcp;"), &["admin imports front"]);
    bites(&find("src/front/mod.rs", "use crate::admin::Admin;"), &["front imports admin"]);
    bites(&find("src/base/x.rs", "fn f() {\n    crate::proto::g();\n}"), &["src/base/x.rs:2:"]);
    bites(
        &find("src/store/a.rs", "use crate::{\n    base::{self, X},\n    fleet::{a, b},\n};"),
        &["a.rs:3: store imports fleet::a", "a.rs:3: store imports fleet::b"],
    );
    bites(
        &find("src/store/a/b.rs", "use super::super::super::fleet::X;"),
        &["store imports fleet"],
    );
    bites(
        &find("src/base/mod.rs", "mod tests {\n    use super::*;\n    use super::super::app;\n}"),
        &["mod.rs:3: base imports app"],
    );
    bites(&find("src/proto/id.rs", "use crate as all;"), &["the whole crate"]);
    bites(&find("src/proto/id.rs", "use crate::*;"), &["the whole crate"]);
    bites(
        &find("src/proto/id.rs", "use crate::nowhere::X;"),
        &["nowhere, which stands on no floor"],
    );
    bites(&find("src/cellar/mod.rs", ""), &["the module cellar stands on no floor"]);
    bites(&find("src/config/mod.rs", "use crate::fleet::spec::PoolSpec;"), &[]);
    bites(
        &find("src/config/mod.rs", "use crate::fleet::{Pool, spec};"),
        &["config imports fleet::Pool"],
    );
}

#[test]
fn what_is_no_import_is_not_taken_for_one() {
    let text = r##"
//! [`crate::app`] may be named in a comment.
/* and crate::app /* here */ too: crate::app */
pub(crate) struct A<'a>(&'a str, char);
const S: &str = "crate::app \" crate::app";
const R: &str = r#"crate::app " crate::app"#;
const B: (&[u8], char, char) = (b"crate::app", '"', '\'');
use super::sibling;
mod tests {
    use super::*;
    use super::super::sibling::X;
}
"##;
    bites(&upward_imports(&[Source::new("src/base/x.rs", text)]), &[]);
}

#[test]
fn modules_out_of_order_or_on_no_floor_are_found() {
    let lib =
        Source::new("src/lib.rs", "pub mod base;\npub mod fleet;\npub mod proto;\nmod odd;\n");
    bites(
        &modules_in_order(&lib),
        &["src/lib.rs:3: proto (floor 1)", "src/lib.rs:4: the module odd stands on no floor"],
    );
    bites(&modules_in_order(&Source::new("src/lib.rs", "//! nothing")), &["no modules"]);
}

#[test]
fn cycles_are_found() {
    let sources = [
        Source::new("src/a.rs", "use crate::b::X;"),
        Source::new("src/b.rs", "\nuse crate::c::X;"),
        Source::new("src/c.rs", "use crate::{b::X, d::Y};"),
        Source::new("src/d.rs", ""),
    ];
    let found = cycles(&sources);
    bites(&found, &["b reaches itself", "c reaches itself"]);
    assert!(found.iter().any(|way| way.contains("src/b.rs:2: b -> c\n  src/c.rs:1: c -> b")));
}

#[test]
fn impure_words_are_found_and_tests_may_say_them() {
    for (word, line) in [
        ("tokio::", "use tokio::sync::Notify;"),
        (".await", "    x.await;"),
        ("async", "async fn f() {}"),
        ("Instant::now", "let now = Instant::now();"),
        ("SystemTime", "use std::time::SystemTime;"),
        ("clock::now", "let now = clock::now();"),
        ("rand::", "let x = rand::random();"),
        ("std::fs", "use std::fs;"),
        ("std::env", "std::env::var(x)"),
        ("std::thread", "std::thread::yield_now()"),
        ("std::process", "std::process::id()"),
        ("TcpStream", "fn f(x: &TcpStream) {}"),
        ("tracing::", "tracing::info!(x);"),
        ("std::env", "use std::{collections::{BTreeMap, HashMap}, env};"),
    ] {
        let found = impure(&[Source::new("src/a.rs", &format!("//! Pure: a.\n\n{line}\n"))]);
        bites(&found, &["src/a.rs:3: a pure file"]);
        assert!(found.concat().contains(word), "{word}: {found:?}");
        let told = format!("//! Pure: a.\n// {line}\n#[cfg(test)]\nmod tests {{\n{line}\n}}\n");
        bites(&impure(&[Source::new("src/a.rs", &told)]), &[]);
        bites(&impure(&[Source::new("src/a.rs", &format!("//! A shell.\n{line}\n"))]), &[]);
    }
    let behind = "//! Pure: a.\n#[cfg(test)]\nmod tests;\n\nfn f() { tracing::info!(1); }\n";
    bites(&impure(&[Source::new("src/a.rs", behind)]), &["src/a.rs:5:"]);
    bites(&impure(&[Source::new("src/a.rs", "//! Pure: a.\nfn asynchronous() {}\n")]), &[]);
}

#[test]
fn files_without_a_header_are_found() {
    let find = |text| headless(&[Source::new("src/a.rs", text)]);
    for bad in ["", "use std::fmt;\n", "// A file.\n", "\n//! Late.\n", "//!\n//! Later.\n"] {
        bites(&find(bad), &["src/a.rs:1: a file begins with //!"]);
    }
    bites(&find("//! A file.\n"), &[]);
}

#[test]
fn metrics_that_the_page_leaves_out_are_found() {
    let names = "//! Names.\nconst A: &str = \"mcp_a_total\";\nconst B: &str = \"mcp_b\";\n";
    let names = Source::new("names.rs", names);
    bites(&unnamed_metrics(&names, "`mcp_a_total{x}` and mcp_b."), &[]);
    bites(&unnamed_metrics(&names, "mcp_a_total, mcp_b_more"), &["names.rs:3: mcp_b is not in"]);
    bites(&unnamed_metrics(&Source::new("names.rs", "//! None."), ""), &["no metric names"]);
}

#[test]
fn what_is_left_out_is_found() {
    let text = "//! A.\n#![allow(dead_code)]\n#[allow(unused)]\nfn f() {\n    todo!()\n}\n\
                fn g() {\n    unimplemented!()\n}\n#[ignore]\nfn h() {}\n\
                #[ignore = \"slow\"]\nfn i() {}\n#[cfg_attr(test, allow(unused))]\nfn j() {}\n";
    bites(
        &left_out(&[Source::new("a.rs", text)]),
        &[
            "a.rs:2:",
            "a.rs:3:",
            "a.rs:5: todo!",
            "a.rs:8: unimpl",
            "a.rs:10:",
            "a.rs:12:",
            "a.rs:14:",
        ],
    );
    let good = "//! A.\n#[expect(unused, reason = \"x\")]\nfn allow() { allow(1); }\n\
                #[ignore = \"a process of its own, for the test above\"]\nfn todo() {}\n// todo!() #[ignore]\n";
    bites(&left_out(&[Source::new("a.rs", good)]), &[]);
}
