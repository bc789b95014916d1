//! Findings about configuration files, each with its place, the line it is about and the fix.
//!
//! The rendering is that of rustc: message, `--> file:line:column`, the line with the place
//! underlined, further places, help.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::remote;

/// A larger file than this is not a configuration file.
const MAX_FILE_BYTES: usize = 1 << 20;
/// Longer lines are cut around the place that a finding is about.
const MAX_EXCERPT_CHARS: usize = 160;

/// Bytes `start..end` of a configuration file, or the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Option<(usize, usize)>);

impl Span {
    /// No place in particular: the value is a default, or the finding is about the whole file.
    pub const WHOLE_FILE: Span = Span(None);

    pub(super) fn start(self) -> usize {
        self.0.map_or(0, |(start, _)| start)
    }
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Span(Some((range.start, range.end)))
    }
}

/// A value and where it stands in its file. Derefs to the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where the file says it; [`Span::WHOLE_FILE`] for a default.
    pub span: Span,
}

impl<T> Located<T> {
    /// `value`, which stands at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Located { value, span }
    }

    /// A value that the file does not state.
    pub(super) fn default_of(value: T) -> Self {
        Located::new(value, Span::WHOLE_FILE)
    }
}

impl<T> Deref for Located<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A configuration file as it was read, to show lines of it.
pub struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl fmt::Debug for ConfigFile {
    /// Without the text, in which there may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigFile").field(&self.path).finish()
    }
}

impl ConfigFile {
    /// Reads a file of UTF-8 text of at most 1 MiB.
    pub fn read(path: &Path) -> Result<Arc<Self>, ConfigError> {
        let refuse = |message: String, hint: &str| {
            let place = Place {
                path: path.to_path_buf(),
                excerpt: None,
            };
            Err(ConfigError::from(Diagnostic::new(message, place, hint)))
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                return refuse(
                    format!("this file cannot be read: {error}"),
                    "check the path and its permissions",
                );
            }
        };
        if bytes.len() > MAX_FILE_BYTES {
            return refuse(
                format!(
                    "this file has {} bytes, a configuration file at most {MAX_FILE_BYTES}",
                    bytes.len()
                ),
                "check that this is the file you meant",
            );
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(ConfigFile::from_text(path, text)),
            Err(error) => refuse(
                format!("this file is not UTF-8 text: {error}"),
                "save it as UTF-8",
            ),
        }
    }

    /// A file whose text is already at hand; findings name `path`.
    pub fn from_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(ConfigFile {
            path: path.into(),
            text: text.into(),
        })
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that the file's relative paths start from.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A finding about `span` of this file. `hint` says the fix; an empty one is left out.
    pub fn diagnostic(
        &self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(message, self.place(span), hint)
    }

    /// Where `span` is, for a finding that shows several places.
    pub fn place(&self, span: Span) -> Place {
        let excerpt = span.0.map(|(start, end)| self.excerpt(start, end));
        Place {
            path: self.path.clone(),
            excerpt,
        }
    }

    fn excerpt(&self, start: usize, end: usize) -> Excerpt {
        let start = self.text.floor_char_boundary(start);
        let end = self.text.floor_char_boundary(end).max(start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |newline| start + newline);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let column = self.text[line_start..start].chars().count();
        let width = self.text[start..end.min(line_start + line.len()).max(start)]
            .chars()
            .count();
        let skipped = if line.chars().count() > MAX_EXCERPT_CHARS {
            column.saturating_sub(MAX_EXCERPT_CHARS / 2)
        } else {
            0
        };
        // A control character in the file must not reach the reader's terminal.
        let visible = |c: char| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        };
        Excerpt {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            offset: column - skipped,
            width: width.clamp(1, MAX_EXCERPT_CHARS / 2),
            text: remote::covered(line)
                .chars()
                .skip(skipped)
                .take(MAX_EXCERPT_CHARS)
                .map(visible)
                .collect(),
        }
    }
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as its path was given.
    pub path: PathBuf,
    /// The line in question; none when the finding is about the whole file.
    pub excerpt: Option<Excerpt>,
}

/// A line of a configuration file, and which part of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line's number, from 1.
    pub line: usize,
    /// Number of the first character meant, from 1, in Unicode scalar values.
    pub column: usize,
    /// How many characters of `text` come before those meant.
    pub offset: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The line, or the part of a very long line around the place.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Other places that have to do with it.
    pub notes: Vec<Note>,
    /// What to do about it; empty if the message says it all.
    pub hint: String,
}

/// A further place of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is there: `first declared here`.
    pub label: String,
    /// Where.
    pub place: Place,
}

impl Diagnostic {
    /// A finding about a place; see also [`ConfigFile::diagnostic`].
    pub fn new(message: impl Into<String>, place: Place, hint: impl Into<String>) -> Self {
        // Both may quote the file, in which a string may hold any character.
        let printable =
            |text: String| text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        Diagnostic {
            message: printable(message.into()),
            place,
            notes: Vec::new(),
            hint: printable(hint.into()),
        }
    }

    /// Shows a further place.
    #[must_use]
    pub fn with_note(mut self, label: impl Into<String>, place: Place) -> Self {
        self.notes.push(Note {
            label: label.into(),
            place,
        });
        self
    }
}

impl fmt::Display for Diagnostic {
    /// Several lines, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places =
            || std::iter::once(&self.place).chain(self.notes.iter().map(|note| &note.place));
        let widest = places()
            .filter_map(|place| place.excerpt.as_ref())
            .map(|excerpt| excerpt.line)
            .max();
        let gutter = widest.map_or(0, |line| line.to_string().len()).max(2);
        write!(f, "error: {}", self.message)?;
        render_place(f, &self.place, gutter)?;
        for note in &self.notes {
            write!(f, "\n{:gutter$} = note: {}", "", note.label)?;
            render_place(f, &note.place, gutter)?;
        }
        for (number, line) in self.hint.lines().enumerate() {
            let lead = if number == 0 { "= help:" } else { "       " };
            write!(f, "\n{:gutter$} {lead} {line}", "")?;
        }
        Ok(())
    }
}

fn render_place(f: &mut fmt::Formatter<'_>, place: &Place, gutter: usize) -> fmt::Result {
    write!(f, "\n{:gutter$}--> {}", "", place.path.display())?;
    let Some(excerpt) = &place.excerpt else {
        return Ok(());
    };
    // A tab before the place must be a tab below it too, or the carets stand elsewhere.
    let lead: String = excerpt
        .text
        .chars()
        .take(excerpt.offset)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    write!(f, ":{}:{}", excerpt.line, excerpt.column)?;
    write!(f, "\n{:gutter$} |", "")?;
    write!(f, "\n{:>gutter$} | {}", excerpt.line, excerpt.text)?;
    write!(f, "\n{:gutter$} | {lead}{}", "", "^".repeat(excerpt.width))
}

/// Why a text is not the value that it should be: a duration, an amount of memory, a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct ValueError {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: String,
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        ValueError {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// What is wrong with the configuration: one finding or more, to be shown as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The findings, at least one, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.diagnostics.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl From<Diagnostic> for ConfigError {
    fn from(diagnostic: Diagnostic) -> Self {
        ConfigError {
            diagnostics: vec![diagnostic],
        }
    }
}
