//! Simulated children: a launcher that starts tasks with pipes in the place of processes.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use waypost::base::{Fault, Kind, Sent};
use waypost::upstream::launch::{Ends, Launch, Launched, Process, Soon};
use waypost::upstream::spec::{LaunchSpec, Program};
use waypost::upstream::supervisor::{Exit, StopPace};

use crate::chance::Dice;
use crate::faults::Dialled;
use crate::host::{Host, Hosts, Script, Step};

/// Starts children of the hosts.
#[derive(Debug)]
pub(crate) struct Cradle(pub(crate) Hosts);

impl Launch for Cradle {
    fn launch<'a>(&'a self, spec: &'a LaunchSpec) -> Soon<'a, Result<Launched, Fault>> {
        let Program::Named(name) = &spec.program else { panic!("no such host") };
        let host = Arc::clone(&self.0[name]);
        Box::pin(async move { start(&host) })
    }
}

fn start(host: &Arc<Host>) -> Result<Launched, Fault> {
    let dialled = host.dialled();
    if dialled == Dialled::Refused {
        let text = format!("cannot start {}", host.name());
        return Err(Fault::upstream(Kind::Connect, Sent::No, text));
    }
    host.ledger.note(format!("{} starts: {dialled:?}", host.name()));
    let mut dice = host.dice();
    let size = dice.pick(&[64, 1_024, 65_536]);
    let ((stdin, from), (to, stdout)) = (duplex(size), duplex(size));
    let (mut noise, stderr) = duplex(1_024);
    let (exited, kill) = (CancellationToken::new(), CancellationToken::new());
    let process = Living {
        host: Arc::clone(host),
        channel: format!("pipe {}", host.begins()),
        out: Mutex::new(Out { to: Some(to), limit: None }),
        over: CancellationToken::new(),
    };
    let (life, killed, exit) = (host.life(), kill.clone(), exited.clone());
    host.tasks.spawn(async move {
        let process = Arc::new(process);
        let host = Arc::clone(&process.host);
        tokio::select! {
            biased;
            () = life.cancelled() => {}
            () = killed.cancelled() => {}
            () = process.over.cancelled() => {}
            () = Arc::clone(&process).live(from, dialled, dice) => {}
        }
        process.over.cancel();
        // Its last words, then its pipes end, then it is waited for.
        drop(noise.write_all(b"bye\n").await);
        process.out.lock().await.to = None;
        host.ended();
        host.ledger.note(format!("{} ends", host.name()));
        exit.cancel();
    });
    let ends = Ends { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) };
    Ok((Box::new(Handle { exited, kill }), ends))
}

/// What the gateway holds of a child.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) exited: CancellationToken,
    pub(crate) kill: CancellationToken,
}

impl Process for Handle {
    fn pid(&self) -> u32 {
        1
    }

    fn start_share(&mut self) -> Option<OwnedSemaphorePermit> {
        None
    }

    fn wait(&mut self) -> Soon<'_, Exit> {
        Box::pin(async {
            self.exited.cancelled().await;
            Exit::Code(1)
        })
    }

    fn stop(&mut self, pace: StopPace) -> Soon<'_, Option<Exit>> {
        Box::pin(async move {
            if tokio::time::timeout(pace.closed, self.exited.cancelled()).await.is_err() {
                self.kill.cancel();
                self.exited.cancelled().await;
            }
            Some(Exit::Code(0))
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// A child while it runs.
struct Living {
    host: Arc<Host>,
    /// What tells its calls from those of other processes of the host.
    channel: String,
    out: Mutex<Out>,
    over: CancellationToken,
}

struct Out {
    to: Option<DuplexStream>,
    /// How much may still be written, and whether it stops or breaks then.
    limit: Option<(usize, bool)>,
}

impl Living {
    /// Reads lines until its stdin ends.
    async fn live(self: Arc<Self>, from: DuplexStream, dialled: Dialled, mut dice: Dice) {
        if dialled == Dialled::Hole {
            return std::future::pending().await;
        }
        if dice.percent(20) {
            self.write(b"a banner\n").await;
        }
        let from: Incoming = match dialled {
            Dialled::Cut(bytes) | Dialled::Deaf(bytes) => {
                let bytes = u64::try_from(bytes * 4).unwrap();
                Box::new(from.take(bytes))
            }
            _ => Box::new(from),
        };
        let mut lines = BufReader::with_capacity(256, from);
        let mut line = Vec::new();
        let changes = self.changes();
        let mut changes = std::pin::pin!(changes);
        loop {
            line.clear();
            self.host.thaw().await;
            let read = tokio::select! {
                biased;
                read = lines.read_until(b'\n', &mut line) => read.unwrap_or(0),
                () = &mut changes => return,
                // Whoever would fail later is started again now.
                () = self.host.healed(), if dialled != Dialled::Well => return,
            };
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            self.host.thaw().await;
            let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                self.host.ledger.breach(format!("{} got half a line", self.host.name()));
                continue;
            };
            let script = self.host.plan(&message, Some(&self.channel));
            let id = message["id"].clone();
            // Known before the next line is read, which may cancel it.
            let unwanted = match script.op {
                Some(op) => self.host.enters(&self.channel, &id, op),
                None => CancellationToken::new(),
            };
            self.host.tasks.spawn(Arc::clone(&self).answer(script, id, unwanted));
        }
        if dialled == Dialled::Well && self.host.traits.stubborn {
            return std::future::pending().await;
        }
        if let Dialled::Deaf(_) = dialled {
            self.host.ledger.trouble(format!("{} reads no more", self.host.name()));
            self.host.healed().await;
        }
        if let Dialled::Cut(_) = dialled {
            self.host.ledger.trouble(format!("{} breaks", self.host.name()));
        }
    }

    /// Tells when its lists change, and writes what is no message.
    async fn changes(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.host.changed.notified() => {
                    if self.host.traits.tells_changes {
                        let method = "notifications/tools/list_changed";
                        self.write(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"}}\n").as_bytes()).await;
                    }
                }
                () = self.host.chatter.notified() => self.write(b"some chatter\n").await,
            }
        }
    }

    async fn answer(self: Arc<Self>, script: Script, id: Value, unwanted: CancellationToken) {
        tokio::select! {
            biased;
            () = self.over.cancelled() => {}
            () = unwanted.cancelled() => {}
            () = self.follow(script) => {}
        }
        self.host.leaves(&self.channel, &id);
    }

    async fn follow(&self, script: Script) {
        for step in script.steps {
            if let Step::Wait(time) = step {
                tokio::time::sleep(time).await;
            }
            self.host.thaw().await;
            match step {
                Step::Wait(_) => {}
                Step::Run(op) => self.host.ledger.runs(op, self.host.name()),
                Step::Tell(message) | Step::Answer(message) | Step::Refuse(_, message) => {
                    self.write(format!("{message}\n").as_bytes()).await;
                }
                Step::Garbage => self.write(b"<html>oops</html>\n").await,
                // A child has no status: it says nothing.
                Step::Status(..) | Step::Hang => return std::future::pending().await,
                Step::Limit { bytes, stall } => {
                    self.out.lock().await.limit = Some((bytes, stall));
                }
                Step::Crash => {
                    self.host.ledger.trouble(format!("{} crashes", self.host.name()));
                    return self.over.cancel();
                }
            }
        }
        if script.stands {
            std::future::pending::<()>().await;
        }
    }

    /// Writes to its stdout as much as it may.
    async fn write(&self, bytes: &[u8]) {
        let mut out = self.out.lock().await;
        let (bytes, end) = match out.limit.filter(|_| !self.host.is_healed()) {
            Some((left, stall)) if left < bytes.len() => (&bytes[..left], Some(stall)),
            Some((left, stall)) => {
                out.limit = Some((left - bytes.len(), stall));
                (bytes, None)
            }
            None => (bytes, None),
        };
        if let Some(to) = &mut out.to {
            // Nobody reads: we are about to be stopped.
            drop(to.write_all(bytes).await);
        }
        match end {
            None => {}
            Some(true) => {
                self.host.ledger.trouble(format!("{} stops within a line", self.host.name()));
                self.host.healed().await;
                self.over.cancel();
            }
            Some(false) => {
                self.host.ledger.trouble(format!("{} breaks within a line", self.host.name()));
                self.over.cancel();
            }
        }
    }
}

type Incoming = Box<dyn tokio::io::AsyncRead + Send + Unpin>;
