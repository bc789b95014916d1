//! Reads TOML tables key by key and collects what is wrong with them.
//!
//! Not by way of serde's derive: that stops at the first error and knows no place for a key that is
//! missing or refused. Here every key is asked for by name; [`Table::finish`] then reports those that
//! nobody asked for.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{ConfigError, ConfigFile, Diagnostic, Located, Span, ValueError};
use super::{bytes, duration, suggest};
use crate::store::declarations::is_name;

/// What was found in one file.
pub(super) struct Findings {
    file: Arc<ConfigFile>,
    found: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    pub(super) fn new(file: &Arc<ConfigFile>) -> Self {
        Findings {
            file: Arc::clone(file),
            found: RefCell::default(),
        }
    }

    pub(super) fn file(&self) -> &Arc<ConfigFile> {
        &self.file
    }

    pub(super) fn report(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(self.file.diagnostic(span, message, hint));
    }

    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// The value, if nothing was found; otherwise everything that was, in the order of the file.
    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        let mut diagnostics = self.found.into_inner();
        match value {
            Some(value) if diagnostics.is_empty() => Ok(value),
            _ => {
                diagnostics.sort_by_key(|found| {
                    found
                        .place
                        .excerpt
                        .as_ref()
                        .map(|excerpt| (excerpt.line, excerpt.column))
                });
                Err(ConfigError { diagnostics })
            }
        }
    }
}

/// Parses a file and hands its root table to `read`, which reports to the findings and gives `None`
/// only after it has reported something.
pub(super) fn read_file<T>(
    file: &Arc<ConfigFile>,
    read: impl FnOnce(&Findings, Table<'_>) -> Option<T>,
) -> Result<T, ConfigError> {
    const SHOWN: usize = 5;
    let (root, errors) = DeTable::parse_recoverable(file.text());
    let findings = Findings::new(file);
    if errors.is_empty() {
        let value = read(
            &findings,
            Table::new(&findings, String::new(), root.get_ref(), Span::WHOLE_FILE),
        );
        return findings.into_result(value);
    }
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error.span().unwrap_or_default(), error.message()))
        .collect();
    errors.sort_by_key(|(span, _)| span.start);
    // What follows an error on the same line is mostly its consequence, and so are keys that seem to
    // be there twice.
    let is_twin = |message: &str| message.starts_with("duplicate key");
    if !errors.iter().all(|(_, message)| is_twin(message)) {
        errors.retain(|(_, message)| !is_twin(message));
    }
    let line_of = |at: usize| {
        file.text()[..file.text().floor_char_boundary(at)]
            .matches('\n')
            .count()
    };
    errors.dedup_by_key(|(span, _)| line_of(span.start));
    for (span, message) in errors.into_iter().take(SHOWN) {
        let hint = match message {
            _ if message.starts_with("string values must be quoted") => {
                "put the value in quotes: \"…\""
            }
            _ if is_twin(message) => "keep one of the two",
            _ => "",
        };
        findings.report(span.into(), format!("this is not TOML: {message}"), hint);
    }
    findings.into_result(None)
}

/// A table that is being read.
pub(super) struct Table<'a> {
    findings: &'a Findings,
    /// `window`; empty for the root.
    name: String,
    entries: &'a DeTable<'a>,
    span: Span,
    known: Vec<&'static str>,
    /// Required keys that are not there, and how they might look.
    missing: Vec<(&'static str, String)>,
}

impl<'a> Table<'a> {
    fn new(findings: &'a Findings, name: String, entries: &'a DeTable<'a>, span: Span) -> Self {
        Table {
            findings,
            name,
            entries,
            span,
            known: Vec::new(),
            missing: Vec::new(),
        }
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// The value of a key that may be left out.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.known.push(key);
        let (found, value) = self.entries.get_key_value(key)?;
        Some(self.node(found, value))
    }

    /// The value of a key that must be there; `example` is how it might look: `key = ["driver_id"]`.
    /// That it is missing is reported by [`Table::finish`].
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Node<'a>> {
        let node = self.optional(key);
        if node.is_none() {
            self.missing.push((key, example.to_owned()));
        }
        node
    }

    /// Every entry, in the order of the file: for tables whose keys the user chooses.
    pub(super) fn entries(&self) -> Vec<(Located<String>, Node<'a>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| {
                (
                    Located::new(key.get_ref().to_string(), key.span().into()),
                    self.node(key, value),
                )
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start());
        entries
    }

    /// Reports the keys that nobody asked for, and those that were asked for and are missing. Of a key
    /// in `elsewhere` (keys of the root) it says that it belongs before the first table; `retired` has
    /// hints for words that people try.
    pub(super) fn finish(self, elsewhere: &[&str], retired: &[(&str, &str)]) {
        let entries = self.entries();
        let unknown = || {
            entries
                .iter()
                .map(|(key, _)| key)
                .filter(|key| !self.known.contains(&key.as_str()))
        };
        let within = if self.name.is_empty() {
            "here".to_owned()
        } else {
            format!("in `{}`", self.name)
        };
        for key in unknown() {
            let word = key.as_str();
            let hint = if let Some((_, hint)) = retired.iter().find(|(retired, _)| *retired == word)
            {
                (*hint).to_owned()
            } else if elsewhere.contains(&word) {
                format!("`{word}` stands at the top of the file, before the first `[table]`")
            } else {
                suggest::did_you_mean(word, "the keys are", self.known.iter().copied())
            };
            self.findings
                .report(key.span, format!("there is no key `{word}` {within}"), hint);
        }
        for (key, example) in &self.missing {
            // A misspelt key was reported where it stands; it need not be missing too.
            if suggest::closest(key, unknown().map(|key| key.as_str())).is_some() {
                continue;
            }
            let hint = match example.contains('\n') {
                true => format!("add\n{example}"),
                false => format!("add `{example}`"),
            };
            self.findings.report(
                self.span,
                format!("`{}` is missing", self.name_of(key)),
                hint,
            );
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    fn node(
        &self,
        key: &'a toml::Spanned<toml::de::DeString<'a>>,
        value: &'a toml::Spanned<DeValue<'a>>,
    ) -> Node<'a> {
        Node {
            findings: self.findings,
            name: self.name_of(key.get_ref()),
            span: value.span().into(),
            value: value.get_ref(),
        }
    }
}

/// A value that is being read. Each reading method reports a value that is not what it reads, and
/// then gives `None`.
#[derive(Clone)]
pub(super) struct Node<'a> {
    findings: &'a Findings,
    /// `window.size`
    name: String,
    pub(super) span: Span,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// Reports something about this value; `problem` continues a sentence that begins with its name.
    pub(super) fn report(&self, problem: impl std::fmt::Display, hint: impl Into<String>) {
        self.findings
            .report(self.span, format!("`{}` {problem}", self.name), hint);
    }

    fn mismatch<T>(&self, wanted: &str, hint: impl Into<String>) -> Option<T> {
        self.report(
            format_args!("must be {wanted}, not {}", kind_of(self.value)),
            hint,
        );
        None
    }

    /// Reports a text that is not the value it should be.
    pub(super) fn unreadable<T>(&self, error: ValueError) -> Option<T> {
        self.findings.report(
            self.span,
            format!("`{}`: {}", self.name, error.message),
            error.hint,
        );
        None
    }

    /// A string that is not empty.
    pub(super) fn string(&self, example: &str) -> Option<Located<String>> {
        let Some(text) = self.value.as_str() else {
            return self.mismatch("a string", format!("write it in quotes, as in {example}"));
        };
        if text.trim().is_empty() {
            self.report("is empty", format!("write something like {example}"));
            return None;
        }
        Some(Located::new(text.to_owned(), self.span))
    }

    /// A name that can stand in file names, metrics and URLs.
    pub(super) fn name(&self, example: &str) -> Option<Located<String>> {
        let text = self.string(example)?;
        self.check_name(&text, example).then_some(text)
    }

    /// Whether `name`, made from this value, can be a name; if not, that is reported.
    pub(super) fn check_name(&self, name: &str, example: &str) -> bool {
        if is_name(name) {
            return true;
        }
        let hint = format!(
            "a name has only a-z, 0-9 and _, begins with a letter, \
             and has at most 128 characters, as in {example}"
        );
        self.report(format_args!("cannot be `{name}`"), hint);
        false
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<Located<T>> {
        let words = || choices.iter().map(|(word, _)| *word);
        let example = format!("\"{}\"", words().next().unwrap_or_default());
        let text = self.string(&example)?;
        match choices.iter().find(|(word, _)| *word == text.value) {
            Some((_, choice)) => Some(Located::new(*choice, self.span)),
            None => {
                let hint = suggest::did_you_mean(&text, "it can be", words());
                self.report(format_args!("cannot be `{}`", text.value), hint);
                None
            }
        }
    }

    /// A list of strings, or a string alone; not empty.
    pub(super) fn strings(&self, example: &str) -> Option<Vec<Located<String>>> {
        let Some(items) = self.items() else {
            return self.string(example).map(|text| vec![text]);
        };
        if items.is_empty() {
            self.report("is empty", format!("write something like {example}"));
            return None;
        }
        items.iter().map(|item| item.string(example)).collect()
    }

    /// A list of anything, or `None` without a report if it is not a list.
    pub(super) fn items(&self) -> Option<Vec<Node<'a>>> {
        Some(
            self.value
                .as_array()?
                .iter()
                .map(|item| self.at(item))
                .collect(),
        )
    }

    /// A value inside of this one, under the same name.
    pub(super) fn at<'b>(&self, inner: &'b toml::Spanned<DeValue<'b>>) -> Node<'b>
    where
        'a: 'b,
    {
        Node {
            findings: self.findings,
            name: self.name.clone(),
            span: inner.span().into(),
            value: inner.get_ref(),
        }
    }

    /// A table.
    pub(super) fn table(&self, example: &str) -> Option<Table<'a>> {
        match self.value.as_table() {
            Some(entries) => Some(Table::new(
                self.findings,
                self.name.clone(),
                entries,
                self.span,
            )),
            None => self.mismatch("a table", format!("write {example}")),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.value
            .as_bool()
            .or_else(|| self.mismatch("`true` or `false`", "write it without quotes"))
    }

    /// A whole number within a range.
    pub(super) fn integer(&self, range: RangeInclusive<i64>) -> Option<Located<i64>> {
        let number = integer_of(self.value);
        let hint = || match *range.end() {
            i64::MAX => format!("write a whole number from {}", range.start()),
            end => format!("write a whole number from {} to {end}", range.start()),
        };
        if !self.value.is_integer() {
            return self.mismatch("a whole number", hint());
        }
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(Located::new(number, self.span)),
            None => {
                self.report("is out of range", hint());
                None
            }
        }
    }

    /// A duration in microseconds, zero included.
    pub(super) fn duration(&self, example: &str) -> Option<Located<i64>> {
        let hint = format!("write a duration such as {example}");
        let Some(text) = self.value.as_str() else {
            return self.mismatch("a duration", hint);
        };
        match duration::parse_duration(text) {
            Ok(micros) => Some(Located::new(micros, self.span)),
            Err(error) => self.unreadable(error),
        }
    }

    /// A duration in microseconds, longer than zero.
    pub(super) fn positive_duration(&self, example: &str) -> Option<Located<i64>> {
        let micros = self.duration(example)?;
        if micros.value == 0 {
            self.report(
                "must be longer than zero",
                format!("write a duration such as {example}"),
            );
            return None;
        }
        Some(micros)
    }

    /// An amount of memory in bytes.
    pub(super) fn bytes(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let hint = format!(
            "write an amount from \"{}\" to \"{}\"",
            bytes::print_bytes(*range.start()),
            bytes::print_bytes(*range.end())
        );
        let Some(text) = self.value.as_str() else {
            return self.mismatch("an amount of memory", hint);
        };
        match bytes::parse_bytes(text) {
            Ok(amount) if range.contains(&amount) => Some(amount),
            Ok(_) => {
                self.report("is out of range", hint);
                None
            }
            Err(error) => self.unreadable(error),
        }
    }
}

/// An integer that fits 64 bits.
pub(super) fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
