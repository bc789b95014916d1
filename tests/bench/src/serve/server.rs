//! The servers: `penstock serve`, Redis, DynamoDB Local.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use penstock::config::{Located, Secret, Span, TableKeys, TablePlace};
use penstock_servers::{CREDENTIALS, Installed, Server, free_ports};

/// The table, and the environment's name for it.
const TABLE: &str = "bench";

/// How often somebody looks who waits for something, and for how long at most.
const GLANCE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is no matter.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `penstock serve`.
pub(super) struct Penstock {
    _process: Running,
    _stderr: BufReader<ChildStderr>,
    rest: String,
    grpc: String,
}

impl Penstock {
    /// Serves the store of a folder, or what `settings` of the environment say.
    pub(super) fn start(folder: &Path, name: &str, settings: &str) -> Result<Self> {
        let project = folder.join(name);
        fs::create_dir(&project)?;
        let store = match settings.contains("store =") {
            true => String::new(),
            false => format!("store = {:?}\n", folder.join("store")),
        };
        fs::write(
            project.join("penstock.toml"),
            format!(
                "[environments.local]\n{store}{settings}\n[environments.local.serving]\ndeadline = \"30s\"\n"
            ),
        )?;
        let program = std::env::current_exe()?.with_file_name("penstock");
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
            .current_dir(&project)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stderr = child.stderr.take().context("its errors are ours")?;
        let mut stderr = BufReader::new(stderr);
        let process = Running(child);
        let mut address = |start: &str| -> Result<String> {
            let mut line = String::new();
            stderr.read_line(&mut line)?;
            let rest = line.strip_prefix(start);
            let rest = rest.with_context(|| format!("penstock serve says {line:?}"))?;
            let end = rest.find(": ").unwrap_or(rest.trim_end().len());
            Ok(rest[..end].to_owned())
        };
        Ok(Self {
            rest: address("serving features on ")?,
            grpc: address("serving features over gRPC on ")?,
            _process: process,
            _stderr: stderr,
        })
    }

    pub(super) fn rest(&self) -> &str {
        &self.rest
    }

    pub(super) fn grpc(&self) -> &str {
        &self.grpc
    }
}

/// `redis-server`, which writes nothing to disk.
pub(super) struct Redis {
    _process: Running,
    address: String,
}

impl Redis {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let port = free_ports(1)?[0].to_string();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start redis-server: it is in Debian's package redis-server")?;
        let redis = Self {
            _process: Running(child),
            address: format!("127.0.0.1:{port}"),
        };
        let began = Instant::now();
        while redis.ping().is_err() {
            ensure!(began.elapsed() < LIMIT, "redis-server does not answer");
            std::thread::park_timeout(GLANCE);
        }
        Ok(redis)
    }

    fn ping(&self) -> Result<()> {
        let mut connection = TcpStream::connect(&self.address)?;
        connection.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        Ok(connection.read_exact(&mut answer)?)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// DynamoDB Local, which keeps what it is given in memory.
pub(super) struct DynamoDb {
    server: Server<penstock_servers::DynamoDb>,
}

impl DynamoDb {
    pub(super) fn start() -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2);
        let target = target.context("the program lies in <target>/release")?;
        let service = penstock_servers::DynamoDb::in_memory();
        let server = Server::start(service, &Installed::below(target))?;
        Ok(Self { server })
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    pub(super) fn place(&self) -> TablePlace {
        let [(_, id), (_, secret), (_, region)] = CREDENTIALS;
        let hidden = |text: &str| Located::new(Secret::new(text), Span::WHOLE_FILE);
        TablePlace {
            region: Some(region.to_owned()),
            endpoint: Some(self.endpoint()),
            keys: Some(TableKeys {
                id: hidden(id),
                secret: hidden(secret),
                token: None,
            }),
            ..TablePlace::named(TABLE)
        }
    }

    /// What an environment says of it.
    pub(super) fn settings(&self) -> String {
        let [(_, id), (_, secret), (_, region)] = CREDENTIALS;
        format!(
            "store = \"dynamodb://{TABLE}\"\n[environments.local.dynamodb]\nendpoint = {:?}\nregion = {region:?}\naws_access_key_id = {id:?}\naws_secret_access_key = {secret:?}\n",
            self.endpoint()
        )
    }
}
