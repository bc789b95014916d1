//! The files that a run writes, and what they must not be: anything that a run reads.

use std::path::{Component, Path, PathBuf};

use super::wiring::Opened;
use crate::config::{
    ConfigError, Environment, EventSource, FeaturePlace, Pipeline, Span, StorePlace, TablePlace,
};
use crate::source::recording::Recording;
use crate::store::declarations::Lineage;

/// The files that a run writes.
#[derive(Debug, Clone)]
pub(super) struct OutputPaths {
    pub(super) features: Option<PathBuf>,
    pub(super) rejects: PathBuf,
    pub(super) late: PathBuf,
    pub(super) invalid: PathBuf,
}

impl OutputPaths {
    /// Where a pipeline's files are in an environment.
    pub(super) fn of(pipeline: &Pipeline, environment: &Environment) -> Self {
        let outputs = &pipeline.outputs;
        Self {
            features: (outputs.features.as_ref()).map(|file| environment.output_path(&file.value)),
            rejects: environment.output_path(&outputs.rejects.file.value),
            late: environment.output_path(&outputs.late.file.value),
            invalid: environment.output_path(&outputs.invalid.file.value),
        }
    }

    /// Refuses files outside of the environment's folder of output files, and such in whose place, or in that of
    /// their `.partial`, something stands that is read, or that the next run would take for recorded events.
    pub(super) fn check<'a>(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        event: &EventSource,
        recordings: impl Iterator<Item = &'a dyn Recording>,
    ) -> Result<(), ConfigError> {
        let read = ReadPaths::of(pipeline, environment, recordings);
        let folder = canonical(&environment.output);
        for (path, span) in self.with_places(pipeline) {
            // Links on the way are followed: one that somebody laid there leads out as well as `..` does.
            if !environment.output_elsewhere && !canonical(path).starts_with(&folder) {
                let (shown, folder) = (path.display(), environment.output.display());
                let message = format!(
                    "output file {shown} is outside of {folder}, the folder of output files of this environment"
                );
                let hint =
                    "name a file below it, or say `output_elsewhere = true` in the environment";
                return Err(pipeline.diagnostic(span, message, hint).into());
            }
            for path in [path.to_path_buf(), path.with_added_extension("partial")] {
                let shown = path.display();
                if let Some(what) = read.at(&path) {
                    let message = format!("output file {shown} is {what}");
                    let hint =
                        "name another file, or let `output` of the environment be another folder";
                    return Err(pipeline.diagnostic(span, message, hint).into());
                }
                if let Some(pattern) = environment.pattern_reading(event, &canonical(&path)) {
                    let message = format!(
                        "output file {shown} would be read as recorded events by the next run: `{}` in penstock.toml stands for it",
                        pattern.value
                    );
                    let hint = "let `output` of the environment be a folder without recorded events, or narrow `files`";
                    return Err(pipeline.diagnostic(span, message, hint).into());
                }
            }
        }
        Ok(())
    }

    fn with_places<'a>(
        &'a self,
        pipeline: &Pipeline,
    ) -> impl Iterator<Item = (&'a Path, Span)> + use<'a> {
        let outputs = &pipeline.outputs;
        let features = self.features.as_deref().zip(outputs.features.as_ref());
        let features = features.map(|(path, file)| (path, file.span));
        features.into_iter().chain([
            (self.rejects.as_path(), outputs.rejects.file.span),
            (self.late.as_path(), outputs.late.file.span),
            (self.invalid.as_path(), outputs.invalid.file.span),
        ])
    }
}

/// The store that a pipeline's features are served from: the embedded one, or a table instead.
pub(super) fn served_from(
    pipeline: &Pipeline,
    environment: &Environment,
) -> Result<(Option<StorePlace>, Option<TablePlace>), ConfigError> {
    Ok(match environment.features()? {
        _ if !pipeline.outputs.store => (None, None),
        FeaturePlace::Embedded(place) => (Some(place), None),
        FeaturePlace::Table(place) => (None, Some(*place)),
    })
}

impl Opened {
    /// What its features are computed from and by.
    pub(super) fn lineage(&self) -> Lineage {
        let columns = self.replay.columns.fields().iter();
        Lineage {
            transform: self.digest.clone(),
            mapper: self.mapper_digest().map(str::to_owned),
            event: self.declaration.event.value.clone(),
            columns: columns.map(|field| field.name().clone()).collect(),
        }
    }

    /// The files that it writes, by what is written to each. Those of a live pipeline are folders of them.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let OutputPaths {
            features,
            rejects,
            late,
            invalid,
        } = &self.outputs;
        let features = features.as_deref().map(|path| ("features", path));
        let side = [("rejects", rejects), ("late", late), ("invalid", invalid)];
        let side = side.into_iter().map(|(what, path)| (what, path.as_path()));
        features.into_iter().chain(side)
    }

    /// The store, if features are written there.
    pub fn feature_store(&self) -> Option<String> {
        let embedded = self.store.as_ref().map(StorePlace::to_string);
        embedded.or_else(|| self.table.as_ref().map(ToString::to_string))
    }
}

/// What a run reads, and what each is.
struct ReadPaths(Vec<(PathBuf, &'static str)>);

impl ReadPaths {
    fn of<'a>(
        pipeline: &Pipeline,
        environment: &Environment,
        recordings: impl Iterator<Item = &'a dyn Recording>,
    ) -> Self {
        let recordings = recordings.filter_map(Recording::local_path);
        let mut paths: Vec<(PathBuf, &'static str)> = recordings
            .map(|path| (path, "one of the event's recorded files"))
            .collect();
        if let Some(file) = pipeline.transform.file() {
            paths.push((file.to_owned(), "the transform's component"));
        }
        if let Some(file) = pipeline.map.as_ref().and_then(|map| map.transform.file()) {
            paths.push((file.to_owned(), "the mapper's component"));
        }
        paths.push((pipeline.source.path().to_owned(), "the pipeline's own file"));
        paths.push((
            environment.source.path().to_owned(),
            "the environment's file",
        ));
        // A name that is a link is written over as a name, and what it leads to is read.
        let both = paths
            .into_iter()
            .flat_map(|(path, what)| [(in_folder(&path), what), (canonical(&path), what)]);
        Self(both.collect())
    }

    fn at(&self, path: &Path) -> Option<&'static str> {
        let written = [in_folder(path), canonical(path)];
        let mut read = self.0.iter();
        read.find(|(path, _)| written.contains(path))
            .map(|(_, what)| *what)
    }
}

/// The path without links and detours, as far as it exists.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let last = path.components().next_back();
        match (last, path.parent().map(canonical)) {
            // Out of a folder that is not there yet, and will be made.
            (Some(Component::ParentDir), Some(folder)) => folder
                .parent()
                .map_or_else(|| folder.clone(), Path::to_owned),
            _ => in_folder(path),
        }
    })
}

/// As [`canonical`], but for a link in the last place.
fn in_folder(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    match folder.as_os_str().is_empty() {
        true => canonical(Path::new(".")).join(name),
        false => canonical(folder).join(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_without_links_and_detours_even_where_nothing_is_yet() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::write(root.join("a"), "").unwrap();
        std::fs::create_dir(root.join("x")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("x/link")).unwrap();
        assert_eq!(canonical(&root.join("x/../a")), root.join("a"));
        assert_eq!(canonical(&root.join("x/link")), root.join("a"));
        assert_eq!(in_folder(&root.join("x/link")), root.join("x/link"));
        assert_eq!(canonical(&root.join("x/../x/new/b")), root.join("x/new/b"));
        assert_eq!(canonical(&root.join("new/../a")), root.join("a"));
        assert_eq!(canonical(&root.join("new/../b")), root.join("b"));
    }
}
