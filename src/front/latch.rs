//! A listening socket that lets nobody new in.
//!
//! Closing it throws out who stands in its queue: they are connected, have sent their request, and
//! never hear a word. Between the last one taken from the queue and the close there is always a
//! moment. So before the queue is emptied the kernel is told to drop what would open a connection;
//! whoever tries is in doubt for a second, tries again, and finds the port closed.

use std::io;

use tokio::net::TcpListener;

/// Lets no new connection come into the queue. Where the system cannot, it says so and all is as
/// it was.
#[cfg(target_os = "linux")]
pub fn latch(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    /// Offset of the flags in a TCP header, and the flag that opens a connection.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    /// Codes of the classic packet filter (`linux/bpf_common.h`): load the byte at an offset; jump if
    /// any of these bits is set; answer how many bytes of the packet pass.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_ANY: u16 = 0x45;
    const PASS: u16 = 0x06;

    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_ANY, 0, 1, SYN),
        SockFilter::new(PASS, 0, 0, 0),
        SockFilter::new(PASS, 0, 0, u32::MAX),
    ])
}

/// Lets no new connection come into the queue: here the system cannot.
#[cfg(not(target_os = "linux"))]
pub fn latch(_listener: &TcpListener) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_stands_in_the_queue_is_let_in_and_nobody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let _queued =
            [TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap()];
        latch(&listener).unwrap();
        let late = TcpStream::connect(addr);
        assert!(timeout(Duration::from_millis(100), late).await.is_err(), "it cannot connect");
        for _ in 0..2 {
            timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
        }
        let more = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(more.is_err(), "nobody came after");
        let closed = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(listener);
        };
        let both = async { tokio::join!(TcpStream::connect(addr), closed).0 };
        let refused = timeout(Duration::from_secs(10), both).await.unwrap();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
