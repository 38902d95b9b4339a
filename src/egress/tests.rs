//! The client against servers on this machine.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::base::{Fault, Kind, Sent, Side, Tasks};

use super::connect::Connector;
use super::stub::{Answer, Stub};
use super::wire::Failed;
use super::{ClientSpec, HttpClient, collect};

fn client() -> HttpClient {
    HttpClient::new(&ClientSpec::default())
}

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

async fn fault_of(url: &str) -> Fault {
    client().send(get(url)).await.unwrap_err()
}

/// A port nobody listens on.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A server that reads a request and then does `then` with the bare connection.
async fn raw_server(tasks: &Tasks, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0);
            stream.write_all(answer).await.unwrap();
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn answers_head_and_body() {
    let stub = Stub::start(|seen| Answer::ok(format!("{} {}", seen.method, seen.path))).await;
    let response = client().send(get(&format!("{}/a/b?q=1", stub.url()))).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(collect(response.into_body(), 100).await.unwrap(), "GET /a/b");
    let seen = &stub.seen()[0];
    assert_eq!(seen.param("q"), "1");
    let names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["host"], "no header but Host is added");
}

#[tokio::test]
async fn connections_are_kept_and_reused() {
    let stub = Stub::start(|_| Answer::ok("x")).await;
    let client = client();
    for _ in 0..5 {
        let response = client.clone().send(get(&stub.url())).await.unwrap();
        collect(response.into_body(), 10).await.unwrap();
    }
    assert_eq!((stub.count(), stub.connections()), (5, 1));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let stub = Stub::start(|_| Answer::json(302, "").header("location", "/elsewhere")).await;
    let response = client().send(get(&stub.url())).await.unwrap();
    assert_eq!((response.status().as_u16(), stub.count()), (302, 1));
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let port = free_port().await;
    let fault = fault_of(&format!("http://user:hunter2@127.0.0.1:{port}/p?key=hunter2")).await;
    assert_eq!((fault.kind, fault.side, fault.sent), (Kind::Connect, Side::Upstream, Sent::No));
    let expected = format!("cannot connect to 127.0.0.1:{port}: connection refused");
    assert_eq!(fault.message, expected, "and neither user nor query");
}

#[tokio::test]
async fn an_unknown_name_sent_nothing() {
    // Some resolvers take their time to say no.
    let spec = ClientSpec { connect_timeout: Duration::from_mins(1), ..ClientSpec::default() };
    let request = get("http://no-such-host.invalid/");
    let fault = HttpClient::new(&spec).send(request).await.unwrap_err();
    assert_eq!((fault.kind, fault.sent), (Kind::Connect, Sent::No));
    let start = "cannot connect to no-such-host.invalid:80: the name cannot be resolved (";
    assert!(fault.message.starts_with(start), "{fault}");
}

#[tokio::test]
async fn a_connection_that_takes_too_long_sent_nothing() {
    // A full backlog: the kernel leaves further connections unanswered.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        held.push(stream.unwrap());
    }
    let spec = ClientSpec { connect_timeout: Duration::from_millis(100), ..ClientSpec::default() };
    let fault = HttpClient::new(&spec).send(get(&format!("http://{address}/"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.sent), (Kind::Connect, Sent::No));
    assert!(fault.message.contains("100ms") || fault.message.contains("timed out"), "{fault}");
}

#[tokio::test]
async fn a_server_that_closes_before_answering_may_have_seen_it() {
    let tasks = Tasks::new();
    let url = raw_server(&tasks, b"").await;
    let fault = fault_of(&url).await;
    assert_eq!((fault.kind, fault.side, fault.sent), (Kind::Closed, Side::Upstream, Sent::Maybe));
    assert!(fault.message.starts_with("127.0.0.1:"), "{fault}");
    assert!(fault.message.ends_with("closed the connection before it answered"), "{fault}");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_fault() {
    let tasks = Tasks::new();
    let url = raw_server(&tasks, b"220 mail.example ESMTP ready\r\n\r\n").await;
    let fault = fault_of(&url).await;
    assert_eq!((fault.kind, fault.sent), (Kind::Protocol, Sent::Maybe));
    assert!(fault.message.contains("did not answer in HTTP"), "{fault}");
}

#[tokio::test]
async fn a_body_cut_short_is_a_fault() {
    let tasks = Tasks::new();
    let url = raw_server(&tasks, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    let response = client().send(get(&url)).await.unwrap();
    let fault = collect(response.into_body(), 100).await.unwrap_err();
    assert_eq!((fault.kind, fault.sent), (Kind::Closed, Sent::Maybe));
}

#[tokio::test]
async fn a_body_is_bounded_announced_or_not() {
    let stub = Stub::start(|_| Answer::ok("0123456789")).await;
    let response = client().send(get(&stub.url())).await.unwrap();
    let fault = collect(response.into_body(), 9).await.unwrap_err();
    assert_eq!(fault.kind, Kind::TooLarge);
    let response = client().send(get(&stub.url())).await.unwrap();
    assert_eq!(collect(response.into_body(), 10).await.unwrap(), "0123456789");

    let tasks = Tasks::new();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";
    let url = raw_server(&tasks, chunked).await;
    let response = client().send(get(&url)).await.unwrap();
    assert_eq!(collect(response.into_body(), 10).await.unwrap(), "0123456789");
    let response = client().send(get(&url)).await.unwrap();
    assert_eq!(collect(response.into_body(), 9).await.unwrap_err().kind, Kind::TooLarge);
}

#[tokio::test]
async fn a_body_announced_too_large_is_refused_before_it_is_read() {
    let tasks = Tasks::new();
    let url = raw_server(&tasks, b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
    let response = client().send(get(&url)).await.unwrap();
    let fault = collect(response.into_body(), 999_999).await.unwrap_err();
    assert_eq!(fault.kind, Kind::TooLarge);
    assert_eq!(fault.message, "the answer is larger than 999999 bytes");
}

#[tokio::test]
async fn an_idle_connection_the_server_closed_is_replaced() {
    // Answers once per connection and then hangs up without saying so.
    let tasks = Tasks::new();
    let url = raw_server(&tasks, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = client();
    for _ in 0..3 {
        let response = client.send(get(&url)).await.unwrap();
        assert_eq!(collect(response.into_body(), 10).await.unwrap(), "ok");
        // Lets the client see the end of the stream, as it would in any pause between two calls.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tls_to_a_plain_server_fails_before_anything_is_sent() {
    let stub = Stub::start(|_| Answer::ok("x")).await;
    let fault = fault_of(&stub.url().replace("http:", "https:")).await;
    assert_eq!((fault.kind, fault.sent), (Kind::Connect, Sent::No));
    assert!(fault.message.contains("TLS: ") || lacks_certificates(&fault), "{fault}");
    assert_eq!(stub.count(), 0);
}

#[tokio::test]
async fn a_tls_greeting_without_answer_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let spec = ClientSpec { connect_timeout: Duration::from_millis(500), ..ClientSpec::default() };
    let client = HttpClient::new(&spec);
    let ended = tokio::time::timeout(Duration::from_secs(10), client.send(get(&url))).await;
    let fault = ended.expect("long before this").unwrap_err();
    assert_eq!((fault.kind, fault.sent), (Kind::Connect, Sent::No));
    let in_time = fault.message.ends_with("no connection within 500ms");
    assert!(in_time || lacks_certificates(&fault), "{fault}");
}

/// A bare machine: there is no TLS to test on it.
fn lacks_certificates(fault: &Fault) -> bool {
    fault.message.contains("no certificates to trust")
}

#[tokio::test]
async fn only_http_and_https_are_sent() {
    for (url, says) in [("ftp://127.0.0.1/", "`ftp`"), ("/path/only", "without http://")] {
        let fault = fault_of(url).await;
        assert_eq!((fault.kind, fault.side, fault.sent), (Kind::Connect, Side::Gateway, Sent::No));
        assert!(fault.message.contains(says), "{fault}");
    }
}

#[test]
fn a_plain_connection_does_not_carry_much_of_tls() {
    type Plain = TokioIo<TcpStream>;
    assert!(size_of::<hyper_rustls::MaybeHttpsStream<Plain>>() < 2_048);
}

// === connections and their keeping ===

/// A server that answers every request on every connection with these bytes, in these pieces, each
/// behind the one before. A connection ends when the client ends it.
struct Script {
    url: String,
    connections: Arc<AtomicUsize>,
    /// What the requests were, heads and bodies.
    seen: Arc<Mutex<Vec<u8>>>,
    /// Closed connections, as the server sees it.
    closed: tokio::sync::watch::Receiver<usize>,
    /// The last piece waits for this.
    go: Arc<Semaphore>,
    _tasks: Tasks,
}

impl Script {
    async fn start(pieces: &'static [&'static [u8]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (tasks, go) = (Tasks::new(), Arc::new(Semaphore::new(0)));
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (close, closed) = tokio::sync::watch::channel(0);
        let close = Arc::new(close);
        let (one, gate, count, all) =
            (Arc::clone(&connections), Arc::clone(&go), tasks.clone(), Arc::clone(&seen));
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                one.fetch_add(1, Ordering::SeqCst);
                let (gate, close, all) = (Arc::clone(&gate), Arc::clone(&close), Arc::clone(&all));
                count.spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        all.lock().extend_from_slice(&bytes[..read]);
                        for (at, piece) in pieces.iter().enumerate() {
                            if at > 0 && at + 1 == pieces.len() {
                                gate.acquire().await.unwrap().forget();
                            }
                            stream.write_all(piece).await.unwrap();
                        }
                    }
                    close.send_modify(|closed| *closed += 1);
                });
            }
        });
        Self { url, connections, seen, closed, go, _tasks: tasks }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until the server has seen so many connections end.
    async fn closed(&mut self, count: usize) {
        let all = self.closed.wait_for(|closed| *closed >= count);
        tokio::time::timeout(Duration::from_secs(10), all).await.unwrap().unwrap();
    }
}

async fn text_of(client: &HttpClient, url: &str) -> String {
    let response = client.send(get(url)).await.unwrap();
    let body = collect(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_use_no_more_connections_than_callers() {
    const CALLERS: usize = 8;
    const CALLS: usize = 200;
    let stub = Stub::start(|seen| Answer::ok(seen.path.clone())).await;
    let client = client();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let (client, url) = (client.clone(), stub.url());
        callers.spawn(async move {
            for call in 0..CALLS {
                let path = format!("/{caller}/{call}");
                assert_eq!(text_of(&client, &format!("{url}{path}")).await, path);
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    assert_eq!(stub.count(), CALLERS * CALLS);
    assert!(stub.connections() <= CALLERS, "{} connections", stub.connections());
}

#[tokio::test]
async fn every_way_to_end_a_body_gives_the_connection_back() {
    let ways: &[(&'static [&'static [u8]], &str)] = &[
        (&[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"], "hello"),
        (&[b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], ""),
        (&[b"HTTP/1.1 204 No Content\r\n\r\n"], ""),
        (&[b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b"01234", b"56789"], "0123456789"),
        (
            &[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
            "hello",
        ),
        (
            &[
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                b"5\r\nhello\r\n1\r\n",
                b" \r\n5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n",
            ],
            "hello world",
        ),
        (
            &[
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n\
               HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            ],
            "ok",
        ),
    ];
    for (pieces, says) in ways {
        let script = Script::start(pieces).await;
        script.go.add_permits(10);
        let client = client();
        for _ in 0..10 {
            assert_eq!(text_of(&client, &script.url).await, *says, "{pieces:?}");
        }
        assert_eq!((script.connections(), client.pool.idle_len()), (1, 1), "{pieces:?}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_it_announces() {
    let script = Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"]).await;
    let client = client();
    for _ in 0..3 {
        let request = Request::head(&script.url).body(Full::default()).unwrap();
        let response = client.send(request).await.unwrap();
        assert!(response.body().is_end_stream());
        assert_eq!(collect(response.into_body(), 10).await.unwrap(), "");
    }
    assert_eq!(script.connections(), 1);
}

#[tokio::test]
async fn a_server_that_says_close_is_not_asked_again_on_that_connection() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".as_slice(),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let mut script = Script::start(Vec::leak(vec![answer])).await;
        let client = client();
        for _ in 0..3 {
            assert_eq!(text_of(&client, &script.url).await, "ok");
        }
        assert_eq!((script.connections(), client.pool.idle_len()), (3, 0));
        script.closed(3).await;
    }
}

#[tokio::test]
async fn a_body_without_length_ends_with_its_connection() {
    let tasks = Tasks::new();
    let url = raw_server(&tasks, b"HTTP/1.1 200 OK\r\n\r\nall of it").await;
    let client = client();
    assert_eq!(text_of(&client, &url).await, "all of it");
    assert_eq!(client.pool.idle_len(), 0);
}

#[tokio::test]
async fn a_body_dropped_half_way_closes_the_connection() {
    let mut script =
        Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234", b"56789"]).await;
    let client = client();
    let mut body = client.send(get(&script.url)).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "01234");
    drop(body);
    assert_eq!(client.pool.idle_len(), 0);
    script.go.add_permits(2);
    script.closed(1).await;
    assert_eq!(text_of(&client, &script.url).await, "0123456789");
    assert_eq!(script.connections(), 2);
}

#[tokio::test]
async fn a_call_given_up_closes_the_connection() {
    let mut script = Script::start(&[b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let client = client();
    let asked = client.send(get(&script.url));
    tokio::time::timeout(Duration::from_millis(50), asked).await.unwrap_err();
    assert_eq!(client.pool.idle_len(), 0);
    script.go.add_permits(1);
    script.closed(1).await;
}

/// A server whose first connection ends after its first answer, when it is told to. The others
/// stay. Answers say the number of the connection.
struct Numbered {
    url: String,
    /// Connection and last byte of every request.
    seen: Arc<Mutex<Vec<(usize, u8)>>>,
    end_first: Arc<Semaphore>,
    _tasks: Tasks,
}

impl Numbered {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (tasks, seen) = (Tasks::new(), Arc::new(Mutex::new(Vec::new())));
        let end_first = Arc::new(Semaphore::new(0));
        let (all, log, end) = (tasks.clone(), Arc::clone(&seen), Arc::clone(&end_first));
        tasks.spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (log, end) = (Arc::clone(&log), Arc::clone(&end));
                all.spawn(async move {
                    let mut bytes = [0; 1024];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        log.lock().push((number, bytes[read - 1]));
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if number == 0 && end.try_acquire().is_err() {
                            tokio::select! {
                                _ = end.acquire() => break,
                                ready = stream.readable() => ready.unwrap(),
                            }
                        }
                    }
                });
            }
        });
        Self { url, seen, end_first, _tasks: tasks }
    }

    /// Ends the first connection and waits until the client could know.
    async fn end_first(&self, client: &HttpClient, overlook: bool) {
        self.end_first.add_permits(1);
        let noticed = async {
            while client.pool.stirred_len(overlook) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), noticed).await.unwrap();
    }
}

async fn meets_a_closed_connection(overlook: bool) {
    let (server, client) = (Numbered::start().await, client());
    for (call, says) in [("a", "0"), ("b", "1"), ("c", "1")] {
        let request = Request::post(&server.url).body(Full::from(call)).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(collect(response.into_body(), 10).await.unwrap(), says);
        if call == "a" {
            server.end_first(&client, overlook).await;
            assert_eq!(client.pool.idle_len(), 1, "still kept");
        }
    }
    assert_eq!(*server.seen.lock(), [(0, b'a'), (1, b'b'), (1, b'c')], "each was seen once");
}

#[tokio::test]
async fn a_connection_closed_at_rest_is_not_used() {
    meets_a_closed_connection(false).await;
}

#[tokio::test]
async fn a_request_that_meets_a_closed_connection_goes_over_a_fresh_one() {
    meets_a_closed_connection(true).await;
}

#[tokio::test]
async fn a_connection_closed_at_rest_is_dropped_at_the_next_visit() {
    let (server, other, client) = (Numbered::start().await, Numbered::start().await, client());
    text_of(&client, &server.url).await;
    server.end_first(&client, false).await;
    text_of(&client, &other.url).await;
    assert_eq!(client.pool.idle_len(), 1);
}

#[tokio::test]
async fn the_connection_used_last_is_used_first() {
    let (server, client) = (Numbered::start().await, client());
    tokio::join!(text_of(&client, &server.url), text_of(&client, &server.url));
    assert_eq!(client.pool.idle_len(), 2);
    let first = text_of(&client, &server.url).await;
    for _ in 0..5 {
        assert_eq!(text_of(&client, &server.url).await, first);
    }
}

#[tokio::test]
async fn a_connection_closed_unnoticed_hands_its_request_back() {
    // Straight at the wire: the pool would have seen it and not used it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let dialed = Connector::new(&ClientSpec::default(), None).connect(uri).await;
    let Ok(wire) = dialed else { panic!("somebody listens") };
    drop(listener.accept().await.unwrap());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let Err(Failed::Unsent(error, back)) = wire.exchange(get("/mine")).await else {
        panic!("nothing was written")
    };
    assert!(error.is_canceled(), "{error}");
    assert_eq!(back.uri(), "/mine");
}

#[tokio::test]
async fn bytes_out_of_turn_end_a_connection() {
    let script =
        Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"])
            .await;
    let client = client();
    for _ in 0..2 {
        assert_eq!(text_of(&client, &script.url).await, "ok");
    }
    assert_eq!((script.connections(), client.pool.idle_len()), (2, 0));
}

#[tokio::test]
async fn unused_connections_are_bounded_in_number() {
    let spec = ClientSpec { idle_max: 2, ..ClientSpec::default() };
    let client = HttpClient::new(&spec);
    let mut script =
        Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n01", b"23"]).await;
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(client.send(get(&script.url)).await.unwrap().into_body());
    }
    script.go.add_permits(5);
    for body in bodies {
        assert_eq!(collect(body, 10).await.unwrap(), "0123");
    }
    assert_eq!(client.pool.idle_len(), 2);
    script.closed(3).await;
}

#[tokio::test]
async fn unused_connections_are_dropped_when_they_are_old() {
    let spec = ClientSpec { idle_timeout: Duration::from_millis(60), ..ClientSpec::default() };
    let client = HttpClient::new(&spec);
    let script = Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let other = Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    text_of(&client, &script.url).await;
    text_of(&client, &other.url).await;
    assert_eq!(client.pool.idle_len(), 2);
    tokio::time::sleep(Duration::from_millis(80)).await;
    text_of(&client, &script.url).await;
    assert_eq!(client.pool.idle_len(), 1, "the other host's went with it");
    assert_eq!((script.connections(), other.connections()), (2, 1));
}

#[tokio::test]
async fn what_goes_out_is_what_was_built() {
    let script = Script::start(&[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let host = script.url.trim_start_matches("http://").trim_end_matches('/');
    let request = Request::post(format!("http://user:key@{host}/a?b=c#d"))
        .header("x-one", "1")
        .body(Full::from("hello"))
        .unwrap();
    client().send(request).await.unwrap();
    let seen = String::from_utf8(script.seen.lock().clone()).unwrap();
    let expected = format!(
        "POST /a?b=c HTTP/1.1\r\nx-one: 1\r\nhost: {host}\r\ncontent-length: 5\r\n\r\nhello"
    );
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_large_body_comes_whole_and_its_connection_is_used_again() {
    let text: String = ('a'..='z').cycle().take(300_000).collect();
    let expected = text.clone();
    let stub = Stub::start(move |_| Answer::ok(text.clone())).await;
    let client = client();
    for _ in 0..3 {
        assert!(text_of(&client, &stub.url()).await == expected);
    }
    assert_eq!(stub.connections(), 1);
}

/// Counts how often a task is woken, and wakes it.
struct Count(AtomicUsize, std::task::Waker);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.wake_by_ref();
    }
}

#[tokio::test]
async fn an_exchange_wakes_its_task_once() {
    let stub = Stub::start(|_| Answer::ok("x").after(Duration::from_millis(30))).await;
    let client = client();
    text_of(&client, &stub.url()).await;
    let url = stub.url();
    let mut call = std::pin::pin!(text_of(&client, &url));
    let mut count = None;
    let answer = std::future::poll_fn(|cx| {
        let new = || Arc::new(Count(AtomicUsize::new(0), cx.waker().clone()));
        let waker = Arc::clone(count.get_or_insert_with(new)).into();
        call.as_mut().poll(&mut std::task::Context::from_waker(&waker))
    });
    assert_eq!(answer.await, "x");
    assert_eq!(count.unwrap().0.load(Ordering::SeqCst), 1, "when the answer is there");
}

#[tokio::test]
async fn a_client_of_one_address_goes_there_and_speaks_to_the_host_of_the_url() {
    let stub = Stub::start(|seen| Answer::ok(seen.header("host"))).await;
    let port = stub.url().rsplit_once(':').unwrap().1.trim_end_matches('/').to_owned();
    let spec = ClientSpec { address: "127.0.0.1".parse().ok(), ..ClientSpec::default() };
    let client = HttpClient::new(&spec);
    let host = format!("nowhere.test:{port}");
    let response = client.send(get(&format!("http://{host}/"))).await.unwrap();
    assert_eq!(collect(response.into_body(), 99).await.unwrap(), host);
    // The name in TLS, which is checked against the certificate, is that of the URL too.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://nowhere.test:{}/", listener.local_addr().unwrap().port());
    let hello = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let length = stream.read(&mut bytes).await.unwrap();
        bytes.truncate(length);
        bytes
    };
    let (fault, hello) = tokio::join!(client.send(get(&url)), hello);
    assert!(hello.windows(12).any(|bytes| bytes == b"nowhere.test"), "{hello:?}");
    let fault = fault.unwrap_err();
    assert!(fault.message.contains("TLS"), "{fault:?}");
}
