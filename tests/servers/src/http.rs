//! One question over HTTP, to a server that just starts or has to be set up. No client for anything else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::CREDENTIALS;

/// Long enough for a machine that does a lot besides.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to a port of this machine.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connection = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("nobody listens to port {port}"))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// Sends a request and gives the answer's body. `headers` end in line ends.
pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Result<String> {
    let asked = format!("{method} {path} on port {port}");
    let mut connection = connect(port)?;
    // Of HTTP/1.0, so that the answer comes in one piece and the connection ends with it.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    let mut answer = Vec::new();
    connection
        .read_to_end(&mut answer)
        .with_context(|| format!("{asked} is not answered"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{asked} is answered with no HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{asked} is answered with {status}: {body}");
    }
    Ok(body.to_owned())
}

/// Calls an AWS service that takes JSON. `target` is the version and the action: `Kinesis_20131202.ListStreams`. The
/// signature is none: the servers here look at who signs, and not at what was signed.
pub(crate) fn call(port: u16, service: &str, target: &str, body: &str) -> Result<String> {
    let [(_, key), _, (_, region)] = CREDENTIALS;
    let headers = format!(
        "X-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n"
    );
    request(port, "POST", "/", &headers, body.as_bytes())
        .with_context(|| format!("cannot do {target}"))
}
