//! The client against servers on this machine.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::base::{Fault, Kind, Sent, Side, Tasks};

use super::stub::{Answer, Stub};
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
