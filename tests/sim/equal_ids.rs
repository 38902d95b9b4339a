//! Many clients that all count their ids from 1 and use them as progress tokens, on the one pipe of a
//! child: each gets its own answer under its own id, and its own progress under its own token, with
//! their types. `SIM_CALLS=n` makes as many calls over the pipe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use waypost::base::Tasks;
use waypost::proto::answer::{Incoming, Reader, mend, read};
use waypost::proto::envelope::{Envelope, split};
use waypost::proto::{Abilities, Era, Version, id};
use waypost::upstream::channel::{ChannelExchange, ChannelLink};
use waypost::upstream::exchange::{Dialect, prepare};
use waypost::upstream::ghosts::GHOST_FOR;
use waypost::upstream::mux::Mux;
use waypost::upstream::sort::Wanted;
use waypost::upstream::stdio;
use waypost::upstream::{Caller, Done, Frame, Mirrored, Request, Subject};

use crate::chance::Dice;
use crate::variable;

/// Calls through the table, and what surrounds it.
const CALLS: u64 = 1_000_000;
/// Calls over a pipe, unless `SIM_CALLS` says how many.
const PIPED: u64 = 30_000;
const CLIENTS: u64 = 40;
/// The child looks whom it holds back when nothing came for so long.
const IDLE: Duration = Duration::from_millis(1);

/// The raw id of a client's call of this number, which is its progress token too.
fn raw_id(number: u64) -> String {
    if number.is_multiple_of(2) { format!("\"{number}\"") } else { number.to_string() }
}

/// A call of a client.
fn body(client: u64, raw: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{raw},"method":"tools/call","params":{{"name":"u__t","arguments":{{"who":{client}}},"_meta":{{"progressToken":{raw}}}}}}}"#
    ))
}

fn request<'a>(body: &'a Bytes, shape: &'a Envelope, caller: &'a Caller) -> Request<'a> {
    let subject = shape.name.map(|span| Subject { span, name: "t" });
    Request { body, shape, subject, caller, mirrored: Mirrored::Nothing }
}

fn reader(raw: &str) -> Reader<'_> {
    Reader { id: raw.as_bytes(), era: Era::Legacy, cacheable: false }
}

// === the table ===

/// Who waits.
struct Waiter {
    client: u64,
    raw: String,
    wanted: Wanted,
}

/// What the server knows of a call: the id and the token that it came with, and for whom it is.
struct Asked {
    id: String,
    token: String,
    who: String,
}

impl Asked {
    fn of(body: &[u8]) -> Self {
        let shape = split(&Bytes::copy_from_slice(body)).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let arguments = text(shape.arguments.unwrap().of(body));
        Self {
            id: text(shape.id.unwrap().of(body)),
            token: text(shape.keys.progress_token.unwrap().value.of(body)),
            who: arguments.replace(|c: char| !c.is_ascii_digit(), ""),
        }
    }

    fn progress(&self) -> String {
        progress(&self.token, &self.who)
    }

    fn answer(&self) -> String {
        answer(&self.id, &self.who)
    }
}

fn progress(token: &str, who: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":"{who}"}}}}"#
    )
}

fn answer(id: &str, who: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"who":{who}}}}}"#)
}

/// The table as a channel uses it, without the channel.
struct Table {
    mux: Mux<Waiter>,
    flying: Vec<Asked>,
}

impl Table {
    fn begins(&mut self, client: u64, raw: String, caller: &Caller) {
        let body = body(client, &raw);
        let shape = split(&body).unwrap();
        let request = request(&body, &shape, caller);
        let number = self.mux.number();
        let version = Version::LEGACY_NEWEST;
        let out = prepare(&request, Dialect { era: Era::Legacy, version, shared: true }, number);
        let wanted = Wanted::of(&request, out.token_replaced, number);
        self.mux.enter(number, Waiter { client, raw, wanted }).unwrap();
        assert!(self.mux.writing(number));
        self.flying.push(Asked::of(&out.body));
    }

    fn is_told(&mut self, line: String) {
        let line = Bytes::from(line);
        let Ok(Incoming::Note { method, about }) = read(&line) else { panic!("no note") };
        let number = id::number(about.token.unwrap().of(&line)).unwrap();
        let waiter = self.mux.peek(number).unwrap();
        let note = waiter.wanted.note(&line, method, about).unwrap();
        assert_eq!(note, progress(&waiter.raw, &waiter.client.to_string()));
    }

    fn is_answered(&mut self, line: String) {
        let line = Bytes::from(line);
        let Ok(Incoming::Answer(found)) = read(&line) else { panic!("no answer") };
        let number = id::number(found.id.unwrap().of(&line)).unwrap();
        let waiter = self.mux.take(number).unwrap();
        let own = mend(&line, &found, reader(&waiter.raw));
        assert_eq!(own, answer(&waiter.raw, &waiter.client.to_string()));
        assert!(self.mux.take(number).is_none(), "one answer for each");
    }
}

#[test]
fn a_million_calls_with_equal_ids_are_never_taken_for_each_other() {
    let (mut dice, caller) = (Dice::new(1), Caller::silent(Era::Legacy));
    let mut table = Table { mux: Mux::default(), flying: Vec::new() };
    let mut made = 0;
    while made < CALLS || !table.flying.is_empty() {
        if made < CALLS && (table.flying.len() < 2 || dice.coin()) && table.flying.len() < 200 {
            // Clients take turns: there are always many calls with the same id.
            table.begins(made % CLIENTS, raw_id(made / CLIENTS + 1), &caller);
            made += 1;
            continue;
        }
        let at = dice.below(table.flying.len());
        if dice.percent(10) {
            let line = table.flying[at].progress();
            table.is_told(line);
        } else {
            let line = table.flying.swap_remove(at).answer();
            table.is_answered(line);
        }
    }
    assert!(table.mux.is_empty());
}

// === the pipe ===

/// A child that answers in any order, some with progress before; where it is told to, it asks first,
/// and says who answered.
async fn child(pipe: DuplexStream, mut dice: Dice) {
    let (from, mut to) = tokio::io::split(pipe);
    let (mut lines, mut held) = (BufReader::new(from).lines(), VecDeque::new());
    let mut asked: Option<(Value, Value)> = None;
    loop {
        let mut out = String::new();
        let line = tokio::select! {
            biased;
            line = lines.next_line() => line.unwrap(),
            // Nobody calls any more: who waits is answered.
            () = tokio::time::sleep(IDLE), if !held.is_empty() => {
                out = held.drain(..).map(|line: String| Asked::of(line.as_bytes()).answer() + "\n").collect();
                to.write_all(out.as_bytes()).await.unwrap();
                continue;
            }
        };
        let Some(line) = line else { return };
        let message: Value = serde_json::from_str(&line).unwrap();
        if message.get("method").is_none() {
            let (id, who) = asked.take().unwrap();
            assert_eq!(message["result"]["who"], who, "the client of the call answers");
            out = answer(&id.to_string(), &who.to_string()) + "\n";
        } else if message["params"]["asks"] == true {
            let who = message["params"]["arguments"]["who"].clone();
            asked = Some((message["id"].clone(), who));
            out = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#.to_owned() + "\n";
        } else {
            held.push_back(line);
            while held.len() > dice.below(20) {
                let line = held.remove(dice.below(held.len())).unwrap();
                let call = Asked::of(line.as_bytes());
                if dice.percent(25) {
                    out += &(call.progress() + "\n");
                }
                out += &(call.answer() + "\n");
            }
        }
        to.write_all(out.as_bytes()).await.unwrap();
    }
}

/// One call of a client from its beginning to its end.
async fn call(link: &ChannelLink, client: u64, raw: &str, caller: &Caller, asks: bool) -> usize {
    let mut body = body(client, raw);
    if asks {
        let text = String::from_utf8(body.to_vec()).unwrap();
        body = text.replace(r#""params":{"#, r#""params":{"asks":true,"#).into();
    }
    let shape = split(&body).unwrap();
    let mut exchange = link.begin(&request(&body, &shape, caller)).unwrap();
    let mut told = 0;
    loop {
        match exchange.next().await.unwrap() {
            Frame::Note(note) => {
                assert_eq!(note, progress(raw, &client.to_string()));
                told += 1;
            }
            Frame::Ask(ask) => {
                ask.answerer.result(json!({ "who": client }).to_string().as_bytes());
                told += 1;
            }
            Frame::Done(Done { message, answer: found, .. }) => {
                let own = mend(&message, &found, reader(raw));
                assert_eq!(own, answer(raw, &client.to_string()));
                return told;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_with_equal_ids_share_a_pipe_and_each_gets_its_own_answer_and_progress() {
    let calls = variable("SIM_CALLS").map_or(PIPED, |text| text.parse().unwrap());
    let (outside, tasks) = (Tasks::new(), Tasks::new());
    let (ours, theirs) = duplex(64 * 1024);
    outside.spawn(child(theirs, Dice::new(2)));
    let (from, to) = tokio::io::split(ours);
    let roots = Abilities { roots: true, ..Abilities::NONE };
    let channel = stdio::open(to, from, roots, &tasks);
    let link = ChannelLink::new(Arc::clone(&channel), Version::LEGACY_NEWEST);
    let told = Arc::new(AtomicUsize::new(0));
    let able = Caller { abilities: roots, ..Caller::silent(Era::Legacy) };

    let mut working = Vec::new();
    for client in 0..CLIENTS {
        let (link, told) = (link.clone(), Arc::clone(&told));
        let caller = Caller::silent(Era::Legacy);
        working.push(outside.spawn(async move {
            for number in 1..=calls / CLIENTS {
                let notes = call(&link, client, &raw_id(number), &caller, false).await;
                told.fetch_add(notes, Ordering::Relaxed);
            }
        }));
    }
    for work in working {
        work.await.unwrap();
    }
    assert!(told.load(Ordering::Relaxed) > 0, "there was progress");

    for number in 1..=500 {
        let (client, raw) = (number % CLIENTS, raw_id(number / CLIENTS + 1));
        assert_eq!(call(&link, client, &raw, &able, true).await, 1, "it is asked once");
    }
    assert_eq!(channel.waiting(), 0);
    outside.stop(Duration::ZERO).await;
}

// === whose question it is ===

/// A pipe whose clients can be asked this, and its other end in the hands of the test.
struct Hand {
    link: ChannelLink,
    lines: tokio::io::Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
    to: tokio::io::WriteHalf<DuplexStream>,
    _tasks: Tasks,
}

impl Hand {
    fn of(declared: Abilities) -> Self {
        let tasks = Tasks::new();
        let (ours, theirs) = duplex(64 * 1024);
        let (from, to) = tokio::io::split(ours);
        let channel = stdio::open(to, from, declared, &tasks);
        let (from, to) = tokio::io::split(theirs);
        let link = ChannelLink::new(channel, Version::LEGACY_NEWEST);
        Self { link, lines: BufReader::new(from).lines(), to, _tasks: tasks }
    }

    /// What the child reads next.
    async fn reads(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_mins(1), self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("the child gets no line")).unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The child asks for roots.
    async fn asks(&mut self, id: u64) {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"roots/list\"}}\n");
        self.to.write_all(line.as_bytes()).await.unwrap();
    }

    /// Begins a call, which the child reads.
    async fn begins(&mut self, raw: &str, caller: &Caller) -> ChannelExchange {
        let body = body(0, raw);
        let shape = split(&body).unwrap();
        let exchange = self.link.begin(&request(&body, &shape, caller)).unwrap();
        assert_eq!(self.reads().await["method"], "tools/call");
        exchange
    }
}

const ROOTS: Abilities = Abilities { roots: true, ..Abilities::NONE };

#[tokio::test(start_paused = true)]
async fn the_question_of_a_call_that_was_given_up_is_not_put_to_the_client_that_is_left() {
    let mut hand = Hand::of(ROOTS);
    let able = Caller { abilities: ROOTS, ..Caller::silent(Era::Legacy) };
    let given_up = hand.begins("1", &able).await;
    let mut left = hand.begins("2", &able).await;
    drop(given_up);
    // It was asked before the child could read that nobody waits.
    hand.asks(1).await;
    assert_eq!(hand.reads().await["method"], "notifications/cancelled");
    let refused = hand.reads().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!(-32601)));
    tokio::time::sleep(GHOST_FOR).await;
    hand.asks(2).await;
    assert!(matches!(left.next().await, Ok(Frame::Ask(_))), "by now it can only be its own");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_asks_what_it_was_told_not_to_is_refused_whoever_calls() {
    let mut hand = Hand::of(Abilities::NONE);
    let able = Caller { abilities: ROOTS, ..Caller::silent(Era::Legacy) };
    let _call = hand.begins("1", &able).await;
    hand.asks(1).await;
    assert_eq!(hand.reads().await["error"]["code"], -32601);
}
