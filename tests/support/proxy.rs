//! A proxy that mistreats connections, each as it was told to.

use std::collections::VecDeque;
use std::io::{Read, Write};
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let stopped = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicU32::new(0));
        let proxy = Self {
            port,
            stopped: Arc::clone(&stopped),
            connections: Arc::clone(&connections),
        };
        let fates = Mutex::new(VecDeque::from(fates));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                let fate = fates.lock().expect("nobody panicked").pop_front();
                let fate = fate.unwrap_or(Fate::Pass);
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
