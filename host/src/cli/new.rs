//! `penstock new`: a project to begin with.
//!
//! What is written is in this program: the files that are the same in every language
//! (`guest-sdk/templates`), those of the language, and the SDK. So a new project needs no network.

use std::path::{Path, PathBuf};

use super::Failure;
use super::build::{Language, Template, TextFile, write_sdk};
use super::show::say;

/// Begins a project: a transform with a pipeline, recorded events and what is expected of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock new customer-spend --lang go
  penstock new clean-orders --lang python --template mapper

Then, in the new folder:
  penstock build
  penstock test pipeline.toml
  penstock run pipeline.toml")]
pub(super) struct Arguments {
    /// The folder to make; its last part is the transform's name.
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The language of the transform.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Language,
    /// What to begin with: features of windows of time, or of single rows.
    #[arg(long, value_enum, value_name = "TEMPLATE", default_value = "window")]
    template: Template,
}

/// The files that every language begins with.
macro_rules! common {
    ($root:literal => $($path:literal),* $(,)?) => {
        &[$(TextFile {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/templates/", $root, $path)),
        }),*]
    };
}

const ALWAYS: &[TextFile] = common!("" => "gitignore.in");

const WINDOW: &[TextFile] = common!("window/" =>
    "README.md",
    "cases/basic/case.toml",
    "cases/basic/events.ndjson",
    "cases/basic/expected.csv",
    "cases/basic/expected.rejects.ndjson",
    "penstock.toml",
    "pipeline.toml",
);

const MAPPER: &[TextFile] = common!("mapper/" =>
    "README.md",
    "cases/basic/case.toml",
    "cases/basic/events.ndjson",
    "cases/basic/expected.csv",
    "cases/basic/expected.rejects.ndjson",
    "penstock.toml",
    "pipeline.toml",
);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments {
        folder,
        lang,
        template,
    } = arguments;
    let name = name(folder)?;
    let own = lang.template(*template);
    if own.is_empty() {
        return Err(Failure::input(format!(
            "this version of penstock has no such template for {}",
            lang.name()
        )));
    }
    let is_taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || folder.is_file() {
        return Err(Failure::input(format!(
            "{} is there already: choose another name, or remove it",
            folder.display()
        )));
    }
    let common = match template {
        Template::Window => WINDOW,
        Template::Mapper => MAPPER,
    };
    for file in ALWAYS.iter().chain(common).chain(own) {
        write(folder, file, &name, *lang)?;
    }
    write_sdk(folder, *lang)?;
    say!(
        "{}: a {} in {}",
        folder.display(),
        kind(*template),
        lang.name()
    );
    say!("  cd {}", folder.display());
    say!("  penstock build");
    say!("  penstock test pipeline.toml");
    say!("  penstock run pipeline.toml");
    Ok(())
}

fn kind(template: Template) -> &'static str {
    match template {
        Template::Window => "window transform",
        Template::Mapper => "mapper",
    }
}

/// The transform's name: letters, digits, `-` and `_`, so that it can be a package in every language.
fn name(folder: &Path) -> Result<String, Failure> {
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let rest = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter)
    };
    match begins && name.chars().all(rest) {
        true => Ok(name),
        false => Err(Failure::input(format!(
            "`{name}` cannot be a transform's name: begin with a small letter, and use small letters, digits, `-` and `_`, as in `customer-spend`"
        ))),
    }
}

/// Writes a file with the project's name in it. `.in` ends the names of templates of files that would mean
/// something where the templates are.
fn write(folder: &Path, file: &TextFile, name: &str, language: Language) -> Result<(), Failure> {
    let path = match file.path {
        "gitignore.in" => ".gitignore",
        path => path.strip_suffix(".in").unwrap_or(path),
    };
    let path = folder.join(path);
    let text = file
        .text
        .replace("{{name}}", name)
        .replace("{{ident}}", &name.replace('-', "_"))
        .replace("{{lang}}", language.name());
    let above = path.parent().expect("it is in the folder");
    std::fs::create_dir_all(above)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Failure::work(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_packages() {
        for good in ["customer-spend", "a", "x/y_2"] {
            assert!(name(Path::new(good)).is_ok(), "{good}");
        }
        for bad in ["Spend", "2x", "a b", "..", "é", ""] {
            assert!(name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_have_no_unknown_placeholders() {
        for file in ALWAYS.iter().chain(WINDOW).chain(MAPPER) {
            let text = file
                .text
                .replace("{{name}}", "")
                .replace("{{ident}}", "")
                .replace("{{lang}}", "");
            assert!(!text.contains("{{"), "{}", file.path);
        }
    }
}
