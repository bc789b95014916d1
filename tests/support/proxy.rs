//! A proxy that mistreats connections, each as it was told to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a connection.
pub(crate) enum Fate {
    /// It goes through.
    Pass,
    /// It is closed after so many bytes of the answer.
    Break(usize),
    /// After so many bytes of the answer, nothing comes any more.
    Stall(usize),
    /// Something is done before it goes through.
    Do(Box<dyn FnOnce() + Send>),
    /// Its first request is answered with this status of HTTP, and nothing else.
    Refuse(u16),
}

/// A proxy in front of a port of this machine. Ends with this value.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    stopped: Arc<AtomicBool>,
    connections: Arc<AtomicU32>,
}

impl Proxy {
    /// Connections have `fates`, one after the other; all further ones go through.
    pub(crate) fn start(to: u16, fates: Vec<Fate>) -> Self {
        let mut fates = VecDeque::from(fates);
        Self::by(to, move || fates.pop_front().unwrap_or(Fate::Pass))
    }

    /// Connections stall or are refused with 503, in turns, until it `is_well`.
    pub(crate) fn ill_until(to: u16, is_well: &Arc<AtomicBool>) -> Self {
        let (is_well, mut connections) = (Arc::clone(is_well), 0);
        Self::by(to, move || {
            connections += 1;
            match is_well.load(Ordering::Relaxed) {
                true => Fate::Pass,
                false if connections % 2 == 0 => Fate::Refuse(503),
                false => Fate::Stall(0),
            }
        })
    }

    /// Each connection has the fate that is drawn for it.
    pub(crate) fn by(to: u16, draw: impl FnMut() -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let stopped = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicU32::new(0));
        let proxy = Self {
            port,
            stopped: Arc::clone(&stopped),
            connections: Arc::clone(&connections),
        };
        let draw = Mutex::new(draw);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                let fate = (draw.lock().expect("nobody panicked"))();
                std::thread::spawn(move || forward(connection, to, fate));
            }
        });
        proxy
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener, which then looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Everything may fail here: whoever is at an end closes.
fn forward(client: TcpStream, to: u16, fate: Fate) {
    let (most, stalls) = match fate {
        Fate::Pass => (usize::MAX, false),
        Fate::Break(after) => (after, false),
        Fate::Stall(after) => (after, true),
        Fate::Do(what) => {
            what();
            (usize::MAX, false)
        }
        Fate::Refuse(status) => {
            refuse(&client, status);
            return;
        }
    };
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
        return;
    };
    let (Ok(mut from), Ok(mut into)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Write);
    });
    let (mut answer, mut back) = (server, client);
    let mut left = most;
    let mut buffer = [0; 8192];
    while left > 0 {
        let wanted = left.min(buffer.len());
        match answer.read(&mut buffer[..wanted]) {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                if back.write_all(&buffer[..read]).is_err() {
                    break;
                }
                left -= read;
            }
        }
    }
    if stalls && left == 0 {
        // Until the other side gives up.
        let _ = back.read(&mut buffer);
    }
    let _ = answer.shutdown(Shutdown::Both);
    let _ = back.shutdown(Shutdown::Both);
}

/// Reads a request, head and body, and answers with a status.
fn refuse(client: &TcpStream, status: u16) -> Option<()> {
    let mut reader = BufReader::new(client);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let header = line.to_ascii_lowercase();
        if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    let answer =
        format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let mut client = client;
    client.write_all(answer.as_bytes()).ok()
}
