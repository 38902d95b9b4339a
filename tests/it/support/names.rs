//! A name server of the test's own: it answers for one name, and what it answers can be changed
//! while it runs.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// The name that it knows; all others are not there (NXDOMAIN).
pub(crate) const NAME: &str = "fleet.test";

/// How often it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

const A: u16 = 1;
const AAAA: u16 = 28;

/// What it does with a question.
#[derive(Clone)]
enum Mood {
    /// Tells these addresses.
    Tells(Vec<IpAddr>),
    /// Says that it failed (SERVFAIL).
    Fails,
    /// Says nothing.
    Silent,
}

/// A running name server on loopback. It ends with its handle.
pub(crate) struct NameServer {
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

impl NameServer {
    /// Starts it; [`NAME`] has these addresses.
    pub(crate) fn start(addresses: &[&str]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let addr = socket.local_addr().unwrap();
        let mood = Arc::new(Mutex::new(Mood::Tells(parsed(addresses))));
        let (asked, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (shared, count, end) = (Arc::clone(&mood), Arc::clone(&asked), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut question = [0_u8; 512];
            while !end.load(Ordering::Acquire) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                count.fetch_add(1, Ordering::AcqRel);
                let mood = shared.lock().clone();
                if let Some(answer) = answer(&question[..length], &mood) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { mood, asked, over, thread: Some(thread), addr }
    }

    /// From now on the name has these addresses; none = it has no address (NOERROR).
    pub(crate) fn tells(&self, addresses: &[&str]) {
        *self.mood.lock() = Mood::Tells(parsed(addresses));
    }

    /// From now on it fails (SERVFAIL).
    pub(crate) fn fails(&self) {
        *self.mood.lock() = Mood::Fails;
    }

    /// From now on it says nothing.
    pub(crate) fn is_silent(&self) {
        *self.mood.lock() = Mood::Silent;
    }

    /// How many questions came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }

    /// `[dns]` of a gateway.toml that asks it.
    pub(crate) fn table(&self) -> String {
        format!("[dns]\nserver = \"{}\"\n", self.addr)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

/// The answer to a message (RFC 1035, 4.1): its header and its question again, and one record for
/// each address of the kind that was asked for.
fn answer(message: &[u8], mood: &Mood) -> Option<Vec<u8>> {
    let (labels, end) = name(message)?;
    let kind = u16::from_be_bytes(message.get(end..end + 2)?.try_into().unwrap());
    let question = message.get(12..end + 4)?;
    let here = labels.eq_ignore_ascii_case(NAME);
    let (code, addresses) = match mood {
        Mood::Silent => return None,
        Mood::Fails => (2, Vec::new()),
        Mood::Tells(_) if !here => (3, Vec::new()),
        Mood::Tells(all) => {
            let asked = |address: &&IpAddr| match kind {
                A => address.is_ipv4(),
                AAAA => address.is_ipv6(),
                _ => false,
            };
            (0, all.iter().filter(asked).copied().collect())
        }
    };
    let count = u8::try_from(addresses.len()).unwrap();
    let mut answer = message[..2].to_vec();
    // A response, recursion is there; one question, these answers, nothing else.
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The name of the question; IN, for 60 s: whoever keeps it that long misses changes.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        answer.extend(u16::try_from(octets.len()).unwrap().to_be_bytes());
        answer.extend(octets);
    }
    Some(answer)
}

/// The name in a question, with dots, and where it ends.
fn name(message: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).into_owned());
        at += length;
    }
}
