//! Rust source with its comments, strings and tests told apart, line for line.
//!
//! Not a parser: just enough of the lexer (The Rust Reference, chapter 2) that a word in a comment or a string is not
//! taken for code, and that the item after `#[cfg(test)]` is found whole.

/// What stands before an item that is compiled for tests only.
const TEST_ATTRIBUTES: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test"];

/// A Rust file. All texts have the same lines, with blanks for what was taken out.
#[derive(Debug)]
pub(super) struct Source {
    code: String,
    shipped: String,
    /// Modules in files of their own that are declared for tests only.
    pub(super) test_modules: Vec<String>,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let code = without_comments_and_strings(text);
        let (shipped, test_modules) = without_tests(&code);
        Source {
            code,
            shipped,
            test_modules,
        }
    }

    /// Everything but comments and what stands in string and character literals.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// The code that is compiled into a program, not only into its tests.
    pub(super) fn shipped(&self) -> &str {
        &self.shipped
    }

    pub(super) fn make_all_test(&mut self) {
        self.shipped = blank(&self.shipped);
    }
}

/// The places of a word or path in code, as offsets: no longer identifier around it. A word that ends in `_` stands for
/// all identifiers that begin so.
pub(super) fn places(code: &str, word: &str) -> Vec<usize> {
    let starts_as_identifier = word.starts_with(is_identifier);
    let is_whole = word.ends_with(is_identifier) && !word.ends_with('_');
    code.match_indices(word)
        .map(|(start, _)| start)
        .filter(|&start| !(starts_as_identifier && code[..start].ends_with(is_identifier)))
        .filter(|&start| !(is_whole && code[start + word.len()..].starts_with(is_identifier)))
        .collect()
}

/// The number, from 1, of the line of an offset.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
}

pub(super) fn is_identifier(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn blank(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { '\n' } else { ' ' })
        .collect()
}

fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (kept, taken) = match next {
            '/' if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (0, block_comment(rest)),
            '"' => (1, string(rest)),
            '\'' => (1, character(rest)),
            _ if is_identifier(next) => {
                let word = rest.find(|c| !is_identifier(c)).unwrap_or(rest.len());
                (
                    word,
                    raw_string(&rest[..word], &rest[word..]).map_or(word, |string| word + string),
                )
            }
            _ => (next.len_utf8(), next.len_utf8()),
        };
        code.push_str(&rest[..kept]);
        code.push_str(&blank(&rest[kept..taken]));
        rest = &rest[taken..];
    }
    code
}

/// The length of the block comment that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string literal that `text` begins with, quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the character literal that `text` begins with, or 1 if it is a lifetime.
fn character(text: &str) -> usize {
    let inside = &text[1..];
    let Some(first) = inside.chars().next() else {
        return 1;
    };
    if first == '\\' {
        // The escaped character may itself be a quote.
        let end = inside.char_indices().skip(2).find(|(_, c)| *c == '\'');
        return end.map_or(text.len(), |(at, _)| at + 2);
    }
    if inside[first.len_utf8()..].starts_with('\'') {
        first.len_utf8() + 2
    } else {
        1
    }
}

/// The length of what follows `prefix`, if together they are a raw string.
fn raw_string(prefix: &str, text: &str) -> Option<usize> {
    if !["r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let hashes = text.len() - text.trim_start_matches('#').len();
    let inside = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &text[..hashes]);
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

/// Takes out items for tests only, and gives the names of those that are modules in other files.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut shipped = String::with_capacity(code.len());
    let mut modules = Vec::new();
    let mut rest = code;
    while let Some(start) = TEST_ATTRIBUTES
        .iter()
        .filter_map(|attribute| rest.find(attribute))
        .min()
    {
        let item = &rest[start..];
        let length = item_length(item);
        if let Some(module) = declared_module(&item[..length]) {
            modules.push(module.to_owned());
        }
        shipped.push_str(&rest[..start]);
        shipped.push_str(&blank(&item[..length]));
        rest = &item[length..];
    }
    shipped.push_str(rest);
    (shipped, modules)
}

/// To the first `;`, or to the end of the first block in braces, whichever comes first outside of other brackets.
fn item_length(item: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in item.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
        // The braces of a `use` are followed by its semicolon.
        if c == '}' && depth == 0 && !item[at + 1..].starts_with(';') {
            return at + 1;
        }
    }
    item.len()
}

fn declared_module(item: &str) -> Option<&str> {
    let name = item.trim_end().strip_suffix(';')?;
    let (before, name) = name.rsplit_once(char::is_whitespace)?;
    before.trim_end().ends_with("mod").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn code_is(text: &str, expected: &str) {
        let code = Source::new(text).code;
        assert_eq!(code.chars().count(), text.chars().count(), "nothing moves");
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>().join(" "),
            expected
        );
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        code_is("a // b\nc /* d /* e */ f */ g", "a c g");
        code_is("a(\"b // \\\" c\", d)", "a(\" , d)");
        code_is("x(r#\"a \" b\"#, br\"c\\\", r\"\", d)", "x(r , br , r , d)");
        code_is("let r#type = for_r\"x\";", "let r#type = for_r\" ;");
        code_is(
            "'a', b'\\'', '\\u{41}', '\"', 'é' 'x: &'static str",
            "' , b' , ' , ' , ' 'x: &'static str",
        );
        code_is("/// docs\n//! more\nfn f() {} /* open", "fn f() {}");
        code_is("\"open", "\"");
    }

    #[test]
    fn items_for_tests_are_told_from_what_is_shipped() {
        let source = Source::new(
            "fn a() {}\n#[cfg(test)]\nuse x::{y, z};\n#[cfg(test)]\n#[path = \"t.rs\"]\nmod t;\n\
             #[cfg(test)]\nmod tests { fn b() { c[1; 2]; } }\nfn d() {}\n#[cfg(all(test, unix))]\nfn e(x: [u8; 2]) {}\nfn f() {}",
        );
        assert_eq!(
            source
                .shipped
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            "fn a() {} fn d() {} fn f() {}"
        );
        assert_eq!(source.test_modules, ["t"]);
        assert_eq!(
            line_of(
                &source.shipped,
                source.shipped.find("fn d").expect("it is shipped")
            ),
            9
        );
    }

    #[test]
    fn words_are_found_whole() {
        assert_eq!(
            places("wasmtime::x wasmtime_wasi mywasmtime", "wasmtime"),
            [0]
        );
        assert_eq!(places("aws_sdk_dynamodb my_aws_sdk_x", "aws_sdk_"), [0]);
        assert_eq!(
            places("Instant::now() Instant::nowhere", "Instant::now"),
            [0]
        );
        assert_eq!(places("a.unwrap() a.unwrap_or(b)", ".unwrap()"), [1]);
    }
}
