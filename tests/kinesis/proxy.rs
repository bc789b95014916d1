//! A proxy that mistreats requests of the service, each as a rule says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a request.
pub(crate) enum Fate {
    /// It goes through.
    Pass,
    /// It is answered with this status, code and message.
    Refuse(u16, &'static str, &'static str),
    /// The connection is closed after so many bytes of the answer.
    Cut(usize),
    /// Nothing is answered, for as long as the client waits.
    Stall,
    /// This goes through in its place.
    Rewrite(String),
    /// This is answered, as JSON.
    Answer(String),
    /// These events are answered, and their stream ends.
    Events(Vec<String>),
}

type Rule = Box<dyn FnMut(&str, &str) -> Fate + Send>;

/// A proxy in front of the service. Ends with this value.
pub(crate) struct Proxy {
    port: u16,
    stopped: Arc<AtomicBool>,
    /// The actions that were asked for, in their order.
    asked: Arc<Mutex<Vec<String>>>,
    rule: Arc<Mutex<Rule>>,
    /// Connections that go through.
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// The rule gets a request's action and body, and may change its mind.
    pub(crate) fn start(to: u16, rule: impl FnMut(&str, &str) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let proxy = Self {
            port: listener.local_addr().expect("it is bound").port(),
            stopped: Arc::default(),
            asked: Arc::default(),
            rule: Arc::new(Mutex::new(Box::new(rule))),
            open: Arc::default(),
        };
        let (stopped, open) = (Arc::clone(&proxy.stopped), Arc::clone(&proxy.open));
        let (asked, rule) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.rule));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let (asked, rule) = (Arc::clone(&asked), Arc::clone(&rule));
                let again = connection.try_clone().expect("it is open");
                open.lock().expect("nobody panicked").push(again);
                // Whoever is at an end closes, and everything may fail.
                std::thread::spawn(move || serve(&connection, to, &asked, &rule));
            }
        });
        proxy
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often an action was asked for.
    pub(crate) fn count(&self, action: &str) -> usize {
        let asked = self.asked.lock().expect("nobody panicked");
        asked.iter().filter(|it| *it == action).count()
    }

    /// Closes all connections.
    pub(crate) fn cut(&self) {
        for connection in self.open.lock().expect("nobody panicked").drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Has all further requests go by another rule.
    pub(crate) fn change(&self, rule: impl FnMut(&str, &str) -> Fate + Send + 'static) {
        *self.rule.lock().expect("nobody panicked") = Box::new(rule);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener, which then looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request, for each connection.
fn serve(
    client: &TcpStream,
    to: u16,
    asked: &Mutex<Vec<String>>,
    rule: &Mutex<Rule>,
) -> Option<()> {
    let mut reader = BufReader::new(client);
    let (mut head, mut action, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_lowercase().as_str() {
            "x-amz-target" => {
                action = value.rsplit('.').next()?.trim().to_owned();
                head.push_str(&line);
            }
            // What goes through may have another length.
            "content-length" => length = value.trim().parse().ok()?,
            "connection" => {}
            _ => head.push_str(&line),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.lock().expect("nobody panicked").push(action.clone());
    let text = String::from_utf8_lossy(&body).into_owned();
    let fate = (rule.lock().expect("nobody panicked"))(&action, &text);
    let mut back = client;
    let mut most = match fate {
        Fate::Pass => usize::MAX,
        Fate::Cut(after) => after,
        Fate::Rewrite(other) => {
            body = other.into_bytes();
            usize::MAX
        }
        Fate::Stall => {
            let _ = back.read(&mut [0]);
            return None;
        }
        Fate::Refuse(status, code, message) => {
            let body = format!("{{\"__type\":\"{code}\",\"message\":\"{message}\"}}");
            return answer(back, status, "application/x-amz-json-1.1", body.as_bytes());
        }
        Fate::Answer(body) => {
            return answer(back, 200, "application/x-amz-json-1.0", body.as_bytes());
        }
        Fate::Events(events) => {
            let mut body = frame("initial-response", "{}");
            for event in events {
                body.extend(frame("SubscribeToShardEvent", &event));
            }
            return answer(back, 200, "application/vnd.amazon.eventstream", &body);
        }
    };
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    write!(
        server,
        "{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .ok()?;
    server.write_all(&body).ok()?;
    let mut buffer = [0; 8192];
    while most > 0 {
        let wanted = most.min(buffer.len());
        let read = server.read(&mut buffer[..wanted]).ok()?;
        if read == 0 || back.write_all(&buffer[..read]).is_err() {
            break;
        }
        most -= read;
    }
    let _ = back.shutdown(Shutdown::Both);
    server.shutdown(Shutdown::Both).ok()
}

fn answer(mut back: &TcpStream, status: u16, kind: &str, body: &[u8]) -> Option<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Yes\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    back.write_all(head.as_bytes()).ok()?;
    back.write_all(body).ok()
}

/// An event as AWS writes it ("Amazon event stream encoding"): lengths, headers, payload, and checksums of
/// the lengths and of all.
fn frame(event: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":message-type", "event"),
        (":event-type", event),
        (":content-type", "application/json"),
    ] {
        headers.push(name.len() as u8);
        headers.extend(name.as_bytes());
        // The type of a string.
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let length = 12 + headers.len() + payload.len() + 4;
    let mut frame = Vec::new();
    frame.extend((length as u32).to_be_bytes());
    frame.extend((headers.len() as u32).to_be_bytes());
    frame.extend(crc32(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(payload.as_bytes());
    frame.extend(crc32(&frame).to_be_bytes());
    frame
}

/// CRC-32 as in Ethernet, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
