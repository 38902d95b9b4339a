//! nginx as a plain reverse proxy: the yardstick of every ratio.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::UPSTREAMS;
use crate::lane::{Lane, System};
use crate::procfs;
use crate::protocol::Era;
use crate::scratch::Scratch;
use crate::server::{Server, Speaks};
use crate::wire::Wire;

const START: Duration = Duration::from_secs(5);

/// Debian keeps it out of an ordinary user's PATH.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

pub(crate) struct Nginx {
    server: Server,
    address: SocketAddr,
    processes: Vec<u32>,
}

/// An installed nginx.
pub(crate) struct Installed {
    program: &'static str,
    pub(crate) version: String,
}

/// The first nginx that runs, if there is one.
pub(crate) fn installed() -> Option<Installed> {
    PROGRAMS.into_iter().find_map(|program| {
        let output = Command::new(program).arg("-v").stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let version = said.trim().rsplit('/').next()?.to_owned();
        output.status.success().then_some(Installed { program, version })
    })
}

impl Nginx {
    pub(crate) async fn start(
        installed: &Installed,
        prefix: &[&str],
        scratch: &Scratch,
        peer: SocketAddr,
    ) -> Result<Self> {
        let address = free_address()?;
        let folder = scratch.folder("nginx")?;
        let file = scratch.write("nginx.conf", &configuration(&folder, address, peer))?;
        let command = vec![
            installed.program.into(),
            "-e".into(),
            "stderr".into(),
            "-p".into(),
            folder.into(),
            "-c".into(),
            file.into(),
        ];
        let mut server = Server::start("nginx", prefix, command, &[], Speaks::Stderr)?;
        wait_until_it_proxies(&mut server, address).await?;
        let master = server.process();
        let mut processes = procfs::children(master)?;
        processes.push(master);
        Ok(Self { server, address, processes })
    }

    pub(crate) fn lane(&self, tools: usize) -> Lane {
        Lane {
            system: System::Nginx,
            era: Era::Legacy,
            pair: None,
            address: self.address,
            processes: self.processes.clone(),
            upstreams: UPSTREAMS,
            tools,
        }
    }

    pub(crate) fn said(&self) -> String {
        self.server.said()
    }
}

/// nginx cannot say which free port it took, so one is chosen for it.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

async fn wait_until_it_proxies(server: &mut Server, address: SocketAddr) -> Result<()> {
    let until = Instant::now() + START;
    while Instant::now() < until && server.running() {
        if proxies(address).await.unwrap_or(false) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("nginx did not start; it said:\n  {}", server.said()).into())
}

/// Whether the peer's refusal of a GET comes through.
async fn proxies(address: SocketAddr) -> Result<bool> {
    let mut wire = Wire::connect(address).await?;
    let request = format!("GET /n1/u0/mcp HTTP/1.1\r\nhost: {address}\r\n\r\n");
    Ok(wire.exchange(request.as_bytes()).await?.status == 405)
}

/// As its users run it: one worker, kept connections on both sides, no log; all else is default.
fn configuration(folder: &Path, address: SocketAddr, peer: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
worker_processes 1;
error_log stderr error;
pid {folder}/pid;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # The default of 1000 would close connections in the middle of a run.
    keepalive_requests 1000000000;
    upstream peer {{
        server {peer};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://peer;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"#
    )
}
