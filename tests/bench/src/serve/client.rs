//! Clients: a process that asks for entities here and there, as fast as it is answered, over one of the protocols.
//!
//! Every answer is read whole, and every value of gRPC's and Redis' answers is counted. On each connection so many
//! requests are on their way at a time: streams of HTTP/2, a pipeline of Redis. Of HTTP/1.1 there are as many connections.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use penstock::serve::grpc::client;
use penstock::serve::grpc::v1::BatchGetRequest;

use super::FEATURES;
use super::fill::{GROUP, names};

/// Different requests of each connection, made beforehand.
const REQUESTS: u64 = 64;

/// What is asked, and of whom.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    #[arg(long)]
    pub(super) protocol: Protocol,
    #[arg(long)]
    pub(super) address: String,
    /// Connections.
    #[arg(long)]
    pub(super) connections: usize,
    /// Requests on their way on each.
    #[arg(long)]
    pub(super) depth: usize,
    /// Entities of a request.
    #[arg(long)]
    pub(super) entities: usize,
    /// Entities that there are.
    #[arg(long)]
    pub(super) held: u64,
    /// For how long. Each entity is asked for once if it is no time at all.
    #[arg(long)]
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    Grpc,
    Rest,
    Redis,
}

/// Has a process of its own ask, and gives the values for each second that it was answered with.
pub(super) fn ask(load: &Load) -> Result<f64> {
    let protocol = match load.protocol {
        Protocol::Grpc => "grpc",
        Protocol::Rest => "rest",
        Protocol::Redis => "redis",
    };
    let number = |number: usize| number.to_string();
    let output = Command::new(std::env::current_exe()?)
        .args([
            "serve-load",
            "--protocol",
            protocol,
            "--address",
            &load.address,
        ])
        .args(["--connections", &number(load.connections)])
        .args(["--depth", &number(load.depth)])
        .args(["--entities", &number(load.entities)])
        .args(["--held", &load.held.to_string()])
        .args(["--seconds", &load.seconds.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the client of {protocol} failed");
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("a client prints a number")
}

/// Asks, and prints how many values came for each second.
pub(crate) fn run(load: &Load) -> Result<()> {
    let began = Instant::now();
    let asked = match load.protocol {
        Protocol::Grpc => grpc(load)?,
        Protocol::Rest => on_threads(load, load.connections * load.depth, rest)?,
        Protocol::Redis => on_threads(load, load.connections, redis)?,
    };
    let values = asked * (load.entities * FEATURES) as u64;
    println!("{}", values as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

impl Load {
    /// The entities of a request of a connection.
    fn entities(&self, connection: usize, request: u64) -> Vec<u64> {
        let first = (connection as u64 * REQUESTS + request) * self.entities as u64;
        // A fixed scramble in place of random numbers; in order if each is asked for.
        let entity = |at: u64| match self.seconds {
            0.0 => at % self.held,
            _ => (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % self.held,
        };
        (first..first + self.entities as u64).map(entity).collect()
    }

    /// Whether a connection has asked enough.
    fn is_over(&self, began: Instant, requests: u64) -> bool {
        match self.seconds {
            0.0 => requests * self.entities as u64 >= self.held,
            seconds => began.elapsed() >= Duration::from_secs_f64(seconds),
        }
    }

    /// The number of a connection's next request: what was made before, unless each entity is asked for.
    fn next(&self, requests: u64) -> u64 {
        match self.seconds {
            0.0 => requests,
            _ => requests % REQUESTS,
        }
    }
}

fn on_threads(
    load: &Load,
    threads: usize,
    ask: impl Fn(&Load, usize) -> Result<u64> + Sync,
) -> Result<u64> {
    std::thread::scope(|scope| {
        let ask = &ask;
        let asking = (0..threads).map(|number| scope.spawn(move || ask(load, number)));
        let asking: Vec<_> = asking.collect();
        let asked = asking
            .into_iter()
            .map(|it| it.join().expect("nothing there panics"));
        asked.sum()
    })
}

/// A request for all features of some entities.
pub(super) fn batch_get(entities: &[u64]) -> BatchGetRequest {
    BatchGetRequest {
        group: GROUP.to_owned(),
        entities: entities.iter().map(u64::to_string).collect(),
        features: names(),
    }
}

fn grpc(load: &Load) -> Result<u64> {
    // One thread, as the other clients have for a connection.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut asking = Vec::new();
        for connection in 0..load.connections {
            let client = client(&load.address)?;
            for stream in 0..load.depth {
                let (mut client, load) = (client.clone(), load.clone());
                let number = connection * load.depth + stream;
                asking.push(tokio::spawn(async move {
                    let requests = (0..REQUESTS).map(|request| load.entities(number, request));
                    let requests: Vec<_> = requests.map(|it| batch_get(&it)).collect();
                    let began = Instant::now();
                    let mut asked = 0;
                    while !load.is_over(began, asked) {
                        let request = match load.seconds {
                            0.0 => batch_get(&load.entities(number, asked)),
                            _ => requests[load.next(asked) as usize].clone(),
                        };
                        let answer = client.batch_get(request).await?.into_inner();
                        let states = answer.columns.iter().flat_map(|it| &it.states);
                        let values = states.filter(|state| *state & 2 != 0).count();
                        ensure!(values == load.entities * FEATURES, "{values} values came");
                        asked += 1;
                    }
                    Ok(asked)
                }));
            }
        }
        let mut all = 0;
        for asked in try_join_all(asking).await? {
            all += asked?;
        }
        Ok(all)
    })
}

fn rest(load: &Load, number: usize) -> Result<u64> {
    let connection = TcpStream::connect(&load.address)?;
    connection.set_nodelay(true)?;
    let mut answers = BufReader::with_capacity(1 << 16, connection.try_clone()?);
    let mut connection = connection;
    let requests: Vec<Vec<u8>> = (0..REQUESTS)
        .map(|request| {
            let entities = load.entities(number, request);
            let body = serde_json::json!({"entities": entities, "features": names()}).to_string();
            let length = body.len();
            format!("POST /v1/groups/{GROUP}/batch-get HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        })
        .collect();
    let (began, mut asked) = (Instant::now(), 0);
    let mut body = Vec::new();
    while !load.is_over(began, asked) {
        connection.write_all(&requests[load.next(asked) as usize])?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200"), "REST says {line}");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line)?;
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.trim().parse()?;
            }
        }
        body.resize(length, 0);
        answers.read_exact(&mut body)?;
        asked += 1;
    }
    Ok(asked)
}

fn redis(load: &Load, number: usize) -> Result<u64> {
    let connection = TcpStream::connect(&load.address)?;
    connection.set_nodelay(true)?;
    let mut answers = BufReader::with_capacity(1 << 16, connection.try_clone()?);
    let mut connection = connection;
    let keys = load.entities * FEATURES;
    let names = names();
    let requests: Vec<Vec<u8>> = (0..REQUESTS)
        .map(|request| {
            let mut command = format!("*{}\r\n$4\r\nMGET\r\n", keys + 1);
            for entity in load.entities(number, request) {
                for name in &names {
                    let key = format!("{GROUP}:{entity}:{name}");
                    command.push_str(&format!("${}\r\n{key}\r\n", key.len()));
                }
            }
            command.into_bytes()
        })
        .collect();
    let head = format!("*{keys}\r\n");
    let (began, mut asked) = (Instant::now(), 0);
    // As many as there may be are sent first, and then one for each that is answered.
    let mut sent = 0;
    let mut line = String::new();
    let mut value = [0; 10];
    loop {
        while sent < asked + load.depth as u64 && !load.is_over(began, sent) {
            connection.write_all(&requests[load.next(sent) as usize])?;
            sent += 1;
        }
        if sent == asked {
            return Ok(asked);
        }
        line.clear();
        answers.read_line(&mut line)?;
        ensure!(line == head, "Redis says {line}");
        for _ in 0..keys {
            line.clear();
            answers.read_line(&mut line)?;
            ensure!(line == "$8\r\n", "Redis has no value: {line}");
            answers.read_exact(&mut value)?;
        }
        asked += 1;
    }
}
