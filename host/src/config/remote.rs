//! Object storage as `penstock.toml` names it: URLs, and the options that stores are opened with.
//!
//! Both are kept as text. What the options mean is known to `source/storage` alone, which also
//! refuses those that mean nothing. No value of an option is ever shown.

use std::fmt;

use super::diagnostic::{Located, Span};

/// A text that is shown to nobody, not even in a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What object stores are opened with in an environment: `[environments.NAME.object_store]`.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Names in lower case, in the order of the file, and their values.
    pub entries: Vec<(Located<String>, Secret)>,
}

impl StoreOptions {
    /// Where an option stands; no place in particular if it is not there.
    pub fn place(&self, name: &str) -> Span {
        let mut entries = self.entries.iter();
        let found = entries.find(|(option, _)| option.value == name);
        found.map_or(Span::WHOLE_FILE, |(option, _)| option.span)
    }
}

/// Whether `files` names a place on object storage or the web, and not a path.
pub(crate) fn is_url(pattern: &str) -> bool {
    pattern.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Words in the name of a key whose value may be a secret.
const SECRET_WORDS: [&str; 13] = [
    "secret",
    "token",
    "passw",
    "pasw",
    "jaas",
    "keytab",
    ".pem",
    "credential",
    "access_key",
    "account_key",
    "master_key",
    "sas_",
    "service_account",
];

/// Longer names of secrets end in one of these.
const SECRET_ENDINGS: [&str; 3] = ["_key", "key_base64", "key_id"];

/// Keys of `penstock.toml` that sound like one and are none.
const NO_SECRETS: [&str; 2] = ["partitioned_by_key", "message_key"];

/// Whether a key or an option of this name (in lower case) may hold a secret.
pub fn sounds_secret(name: &str) -> bool {
    // A misspelt `sasl.password` is one still.
    let of_a_login = name.contains("sasl") && !name.contains("mechanism");
    let sounds = of_a_login
        || SECRET_WORDS.iter().any(|word| name.contains(word))
        || SECRET_ENDINGS.iter().any(|end| name.ends_with(end));
    sounds && !NO_SECRETS.contains(&name)
}

/// A line of a configuration file with what may be a secret covered, character by character, so
/// that every other one keeps its column.
pub(super) fn covered(line: &str) -> String {
    let mut shown: Vec<char> = line.chars().collect();
    cover_values(&mut shown);
    cover_user_information(&mut shown);
    shown.into_iter().collect()
}

/// Covers what stands behind `=` after a key that sounds like a secret, up to the end of its string.
fn cover_values(line: &mut [char]) {
    let mut at = 0;
    while let Some(equals) = line[at..].iter().position(|c| *c == '=').map(|to| at + to) {
        let name: String = line[at..equals].iter().collect();
        let name = name.rsplit(['{', ',', '[']).next().unwrap_or_default();
        let name = name.trim().replace(['"', '\''], "").to_ascii_lowercase();
        at = equals + 1;
        let secret = sounds_secret(&name);
        let start = at + line[at..].iter().take_while(|c| c.is_whitespace()).count();
        let quote = line.get(start).copied().filter(|c| "\"'".contains(*c));
        let (start, end) = match quote {
            // A text of several lines: what it says on this one.
            Some(quote) if line[start..].starts_with(&[quote; 3]) => (start + 3, line.len()),
            Some(quote) => (start + 1, end_of_string(line, start + 1, quote)),
            None => (start, line.len()),
        };
        if secret {
            line[start..end].fill('*');
            at = end;
        } else if quote.is_some() {
            at = end;
        }
    }
}

fn end_of_string(line: &[char], start: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in line.iter().enumerate().skip(start) {
        match c {
            '\\' if quote == '"' && !escaped => escaped = true,
            c if *c == quote && !escaped => return at,
            _ => escaped = false,
        }
    }
    line.len()
}

/// Covers `user:password` of `scheme://user:password@host`, and whatever stands behind a `?`.
fn cover_user_information(line: &mut [char]) {
    let mut at = 0;
    while let Some(found) = line[at..].windows(3).position(|c| c == [':', '/', '/']) {
        let start = at + found + 3;
        let ends = |c: &char| c.is_whitespace() || "\"',".contains(*c);
        let end = start + line[start..].iter().take_while(|c| !ends(c)).count();
        let authority = start + line[start..end].iter().take_while(|c| **c != '/').count();
        if let Some(sign) = line[start..authority].iter().rposition(|c| *c == '@') {
            line[start..start + sign].fill('*');
        }
        if let Some(query) = line[start..end].iter().position(|c| *c == '?')
            && line[start + query..end].contains(&'=')
        {
            line[start + query + 1..end].fill('*');
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://bucket/a", "https://host/x", "file:///tmp/x"] {
            assert!(is_url(url), "{url}");
        }
        for path in ["data/a.ndjson", "://x", "/a/b", "C:/x", "1a://x", "data/*"] {
            assert!(!is_url(path), "{path}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_covered_and_nothing_else() {
        let cases = [
            ("key = \"driver_id\"", "key = \"driver_id\""),
            (
                "aws_secret_access_key = \"hunter2\" # x",
                "aws_secret_access_key = \"*******\" # x",
            ),
            (
                "aws_secret_acces_key = hunter2",
                "aws_secret_acces_key = *******",
            ),
            (
                "object_store = { aws_region = \"eu\", azure_storage_sas_key = 'a=b', x = \"y\" }",
                "object_store = { aws_region = \"eu\", azure_storage_sas_key = '***', x = \"y\" }",
            ),
            ("token = \"a\\\"b\"", "token = \"****\""),
            (
                "kafka = { \"sasl.mechanism\" = \"PLAIN\", \"sasl.pass.word\" = \"x\", sasl.pw = 1234 }",
                "kafka = { \"sasl.mechanism\" = \"PLAIN\", \"sasl.pass.word\" = \"*\", sasl.pw = ******",
            ),
            (
                "\"ssl.key.pem\" = \"\"\"MIIE",
                "\"ssl.key.pem\" = \"\"\"****",
            ),
            (
                "files = \"https://me:hunter2@host/a.ndjson\"",
                "files = \"https://**********@host/a.ndjson\"",
            ),
            (
                "files = [\"https://h/a?sig=x\", \"s3://b/a?.ndjson\"]",
                "files = [\"https://h/a?*****\", \"s3://b/a?.ndjson\"]",
            ),
        ];
        for (line, shown) in cases {
            assert_eq!(covered(line), shown);
        }
    }

    #[test]
    fn options_show_their_names_alone() {
        let name = Located::new("aws_secret_access_key".to_owned(), Span::WHOLE_FILE);
        let options = StoreOptions {
            entries: vec![(name, Secret::new("hunter2"))],
        };
        let shown = format!("{options:?}");
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("hunter2"));
    }
}
