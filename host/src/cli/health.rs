//! `penstock health`: asks a running Penstock whether it is well, for containers without an HTTP client.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use url::Url;

use super::show::say;
use super::{Failure, show};
use crate::serve::USUAL_ADDRESS;

/// Asks a running Penstock whether it is well.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock health                                  is it alive? as a container's HEALTHCHECK
  penstock health --ready                          are all pipelines at work?
  penstock health http://10.0.0.7:9464

The answer is that of /health or /ready of a `penstock run --listen`. Exit code 0 says that it is well,
1 that it is not or does not answer.")]
pub(super) struct Arguments {
    /// Where it listens, such as http://127.0.0.1:9464, which it is by default; or the whole URL to ask.
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Whether all pipelines are at work, rather than whether the process is alive.
    #[arg(long)]
    ready: bool,
    /// Seconds to wait for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// What is shown of an answer, at most: whatever listens there may not be Penstock.
const SHOWN: usize = 4_000;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let url = url(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start a thread: {error}")))?;
    let timeout = Duration::from_secs(arguments.timeout);
    let (status, text) = runtime.block_on(ask(&url, timeout)).map_err(|error| {
        let reason = innermost(&error);
        Failure::work(format!(
            "{url} does not answer: {reason}; is there a `penstock run --listen {}`?",
            url.authority()
        ))
    })?;
    let text: String = text.chars().take(SHOWN).collect();
    let lines: Vec<String> = text.lines().map(show::printable).collect();
    match status {
        StatusCode::OK => {
            lines.iter().for_each(|line| say!("{line}"));
            Ok(())
        }
        StatusCode::SERVICE_UNAVAILABLE => Err(Failure::Work(lines.join("\nerror: "))),
        other => Err(Failure::work(format!(
            "{url} answers {other}: that is no `penstock run --listen`"
        ))),
    }
}

fn url(arguments: &Arguments) -> Result<Url, Failure> {
    let given = match &arguments.url {
        None => format!("http://{USUAL_ADDRESS}"),
        Some(url) if url.contains("://") => url.clone(),
        Some(address) => format!("http://{address}"),
    };
    let bad = |reason: String| {
        Failure::Input(format!(
            "{given} cannot be asked: {reason}; write a URL such as http://{USUAL_ADDRESS}"
        ))
    };
    let mut url = Url::parse(&given).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!("`{}` is not HTTP", url.scheme())));
    }
    if url.path() == "/" {
        url.set_path(if arguments.ready { "/ready" } else { "/health" });
    }
    Ok(url)
}

pub(super) async fn ask(url: &Url, timeout: Duration) -> reqwest::Result<(StatusCode, String)> {
    let mut client = Client::builder().timeout(timeout).no_proxy();
    if url.scheme() == "http" {
        // A container may have no certificates, and needs none for this.
        client = client.tls_certs_only([]);
    }
    let answer = client.build()?.get(url.clone()).send().await?;
    Ok((answer.status(), answer.text().await?))
}

fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_good_as_a_url() {
        let asked = |given: Option<&str>, ready| {
            url(&Arguments {
                url: given.map(str::to_owned),
                ready,
                timeout: 1,
            })
            .map(|url| url.to_string())
        };
        let cases = [
            (None, false, "http://127.0.0.1:9464/health"),
            (None, true, "http://127.0.0.1:9464/ready"),
            (Some("localhost:1"), true, "http://localhost:1/ready"),
            (Some("http://h:1/"), false, "http://h:1/health"),
            (Some("https://h/status"), false, "https://h/status"),
        ];
        for (given, ready, expected) in cases {
            assert_eq!(asked(given, ready).unwrap(), expected);
        }
        for bad in ["ftp://h", "http://", "http://[::1"] {
            assert!(matches!(asked(Some(bad), false), Err(Failure::Input(_))));
        }
    }
}
