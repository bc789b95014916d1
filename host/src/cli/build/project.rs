//! What is to be built: a folder, its language, and where the component goes.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use toml::{Table, Value};

use super::super::Failure;
use super::language::Language;

/// A transform's sources in a folder.
pub(super) struct Project {
    /// The folder, with a path that holds whatever the working directory becomes.
    pub(super) folder: PathBuf,
    /// What they are written in.
    pub(super) language: Language,
    /// Where the component goes.
    pub(super) output: PathBuf,
    /// The pipeline that the component is for, if there is one.
    pub(super) pipeline: PathBuf,
    /// `[build]` of the folder's penstock.toml.
    settings: Table,
}

impl Project {
    pub(super) fn find(
        path: &Path,
        language: Option<Language>,
        output: Option<&Path>,
    ) -> Result<Self, Failure> {
        let folder = path
            .canonicalize()
            .map_err(|error| Failure::input(format!("cannot build {}: {error}", path.display())))?;
        if !folder.is_dir() {
            return Err(Failure::input(format!(
                "{} is no folder: name the one that the project is in",
                path.display()
            )));
        }
        let settings = settings(&folder)?;
        // In messages, paths are as short as the user's.
        let shown = if path == Path::new(".") {
            Path::new("")
        } else {
            path
        };
        let language = match language {
            Some(language) => language,
            None => language_of(&folder, &settings)?,
        };
        let output = match output {
            Some(output) => output.to_owned(),
            None => shown.join(declared_output(&folder, &settings)?),
        };
        let pipeline = shown.join("pipeline.toml");
        Ok(Self {
            folder,
            language,
            output,
            pipeline,
            settings,
        })
    }

    /// Where everything goes that is not the author's.
    pub(super) fn hidden(&self) -> PathBuf {
        self.folder.join(".penstock")
    }

    /// The SDK.
    pub(super) fn sdk(&self) -> PathBuf {
        self.hidden().join("sdk").join(self.language.name())
    }

    /// A list of texts in `[build]`, or a text alone.
    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<String>>, Failure> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let list = match self.settings.get(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items.iter().map(text).collect(),
            Some(value) => text(value).map(|text| vec![text]),
        };
        list.map(Some).ok_or_else(|| {
            Failure::input(format!(
                "{}: `build.{key}` is to be a list of texts",
                self.folder.join("penstock.toml").display()
            ))
        })
    }
}

fn settings(folder: &Path) -> Result<Table, Failure> {
    let Some(mut file) = read(&folder.join("penstock.toml"))? else {
        return Ok(Table::new());
    };
    match file.remove("build") {
        Some(Value::Table(settings)) => Ok(settings),
        None => Ok(Table::new()),
        Some(_) => Err(Failure::input(format!(
            "{}: `build` is to be a table: `[build]`, and `lang = \"go\"` below it",
            folder.join("penstock.toml").display()
        ))),
    }
}

/// A TOML file, if there is one.
fn read(path: &Path) -> Result<Option<Table>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .parse()
            .map(Some)
            .map_err(|error| Failure::input(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::input(format!(
            "cannot read {}: {error}",
            path.display()
        ))),
    }
}

fn language_of(folder: &Path, settings: &Table) -> Result<Language, Failure> {
    let names = || {
        let names = Language::value_variants().iter();
        names.map(|language| language.name()).collect::<Vec<_>>()
    };
    let Some(said) = settings.get("lang") else {
        return Language::of_files(folder).ok_or_else(|| {
            Failure::input(format!(
                "cannot see what {} is written in: say `lang` below `[build]` in its penstock.toml, one of {}; a new project begins with `penstock new NAME --lang LANGUAGE`",
                folder.display(),
                names().join(", ")
            ))
        });
    };
    let language = said
        .as_str()
        .and_then(|said| Language::from_str(said, true).ok());
    language.ok_or_else(|| {
        Failure::input(format!(
            "{}: `build.lang` is {said}, and can be one of {}",
            folder.join("penstock.toml").display(),
            names().join(", ")
        ))
    })
}

/// What `[build] output` says, or the transform of the pipeline; from the project's folder.
fn declared_output(folder: &Path, settings: &Table) -> Result<PathBuf, Failure> {
    if let Some(output) = settings.get("output").and_then(Value::as_str) {
        return Ok(output.into());
    }
    let pipeline = read(&folder.join("pipeline.toml"))?;
    let transform = pipeline.as_ref().and_then(|table| table.get("transform"));
    if let Some(transform) = transform.and_then(Value::as_str) {
        return Ok(transform.into());
    }
    let name = folder
        .file_name()
        .map_or("transform".into(), |name| name.to_string_lossy());
    Ok(format!("{}.wasm", name.replace('-', "_")).into())
}
