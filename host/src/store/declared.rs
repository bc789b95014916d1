//! Declarations as stores keep them, whatever a store is made of: their bytes, what may change of them, and how a name
//! finds one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::declarations::{FeatureRef, Terms};
use super::item::bytes::Cursor;
use super::item::types::{read_type, write_type};
use super::{Declaration, FeatureName, FeatureReader, StoreError};

/// The layout of a declaration's file that this code writes, and the only one that it reads.
const LAYOUT: u64 = 1;

/// A declaration's file.
#[derive(Serialize, Deserialize)]
struct Stored {
    layout: u64,
    group: String,
    feature: String,
    version: u32,
    pipeline: String,
    window: String,
    entity: Vec<String>,
    /// The type for a person to read.
    data_type: String,
    /// The type's descriptor (see the layout of values), in hexadecimal.
    type_bytes: String,
    /// The owner's JSON as a text, so that it comes back byte for byte.
    document: String,
}

/// Picks the declarations of features out of those of their group, which ascend by name and version.
pub(super) fn resolve(
    group: &str,
    known: &[Arc<Declaration>],
    features: &[FeatureName],
) -> Result<Vec<Arc<Declaration>>, StoreError> {
    let find = |asked: &FeatureName| {
        let is_it = |it: &&Arc<Declaration>| {
            it.feature == asked.name && asked.version.is_none_or(|version| version == it.version)
        };
        let versions = || known.iter().map(|it| (it.feature.clone(), it.version));
        (known.iter().rfind(is_it).map(Arc::clone))
            .ok_or_else(|| unknown(group, asked, &versions().collect::<Vec<_>>()))
    };
    features.iter().map(find).collect()
}

pub(super) fn unknown(group: &str, asked: &FeatureName, versions: &[(String, u32)]) -> StoreError {
    StoreError::UnknownFeature {
        group: group.to_owned(),
        feature: match asked.version {
            Some(version) => format!("{}@{version}", asked.name),
            None => asked.name.clone(),
        },
        known: versions
            .iter()
            .map(|(name, v)| format!("{name}@{v}"))
            .collect(),
    }
}

/// For how long the items of a window are of use, in microseconds after their event times: as long as that of its
/// features that is longest of use; none if one of them is for ever.
pub(super) fn ttl_of(known: &[Arc<Declaration>], pipeline: &str, window: &str) -> Option<i64> {
    let of_window = known
        .iter()
        .filter(|it| it.pipeline == pipeline && it.window == window);
    let ttls: Option<Vec<i64>> = of_window.map(|it| Terms::of(it).ttl).collect();
    ttls?.into_iter().max()
}

/// Refuses another place or type for a version that is declared.
pub(super) fn check_same_place(before: &Declaration, now: &Declaration) -> Result<(), StoreError> {
    // Types are compared as they are stored: metadata of inner fields is not.
    let same_type = type_bytes(before)? == type_bytes(now)?;
    let place = |d: &Declaration| {
        format!(
            "pipeline {:?}, window {:?}, entity {} and type {}",
            d.pipeline,
            d.window,
            d.entity.join(","),
            d.data_type
        )
    };
    let parts = |d: &Declaration| (d.pipeline.clone(), d.window.clone(), d.entity.clone());
    if same_type && parts(before) == parts(now) {
        return Ok(());
    }
    Err(StoreError::Redeclared {
        group: now.group.clone(),
        feature: now.feature.clone(),
        version: now.version,
        was: place(before),
        now: place(now),
    })
}

/// Refuses that a pipeline, which declares `now`, computes less than what a store serves of it, but for what is retired.
/// Windows of other lengths are another state, which is refused by those who keep it: of them nothing is said here.
///
/// # Errors
///
/// [`StoreError::Dropped`] with all that would get no new values; others when declarations cannot be read.
pub(crate) async fn refuse_dropped(
    store: &dyn FeatureReader,
    pipeline: &str,
    now: &[Declaration],
    retired: &[FeatureRef],
) -> Result<(), StoreError> {
    let known = store.declarations(None).await?;
    let dropped = dropped(&known, pipeline, now);
    let features: Vec<String> = dropped
        .into_iter()
        .filter(|it| !is_retired(it, retired))
        .map(|it| format!("{}/{}@{}", it.group, it.feature, it.version))
        .collect();
    match features.is_empty() {
        true => Ok(()),
        false => Err(StoreError::Dropped {
            pipeline: pipeline.to_owned(),
            features,
        }),
    }
}

/// What a store knows of a pipeline, and the pipeline, which declares `now`, does not: in windows of lengths that it has.
pub(crate) fn dropped<'a>(
    known: &'a [Declaration],
    pipeline: &str,
    now: &[Declaration],
) -> Vec<&'a Declaration> {
    let name = |it: &Declaration| (it.group.clone(), it.feature.clone(), it.version);
    let declared: BTreeSet<_> = now.iter().map(name).collect();
    let windows: BTreeSet<&str> = now.iter().map(|it| it.window.as_str()).collect();
    let ours = known
        .iter()
        .filter(|it| it.pipeline == pipeline && windows.contains(it.window.as_str()));
    ours.filter(|it| !declared.contains(&name(it))).collect()
}

/// Whether a pipeline's file says that it may stop computing a feature.
pub(crate) fn is_retired(declaration: &Declaration, retired: &[FeatureRef]) -> bool {
    retired.iter().any(|retired| {
        let group = retired.group.as_ref();
        group.is_none_or(|group| *group == declaration.group)
            && retired.name == declaration.feature
            && retired.version == Some(declaration.version)
    })
}

fn type_bytes(declaration: &Declaration) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    write_type(&declaration.data_type, &mut bytes).map_err(|source| StoreError::Value {
        group: declaration.group.clone(),
        feature: declaration.feature.clone(),
        source,
    })?;
    Ok(bytes)
}

pub(super) fn encode(declaration: &Declaration) -> Result<Vec<u8>, StoreError> {
    let type_bytes = type_bytes(declaration)?;
    let stored = Stored {
        layout: LAYOUT,
        group: declaration.group.clone(),
        feature: declaration.feature.clone(),
        version: declaration.version,
        pipeline: declaration.pipeline.clone(),
        window: declaration.window.clone(),
        entity: declaration.entity.clone(),
        data_type: declaration.data_type.to_string(),
        type_bytes: type_bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        document: declaration.document.clone(),
    };
    let mut json = serde_json::to_vec_pretty(&stored).expect("texts and numbers are JSON");
    json.push(b'\n');
    Ok(json)
}

/// Reads a declaration. `path` says where it is, for messages.
pub(super) fn decode(path: &Path, text: &[u8]) -> Result<Declaration, StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    // The layout comes first: a file of another one may lack everything else.
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    let found = value
        .get("layout")
        .and_then(serde_json::Value::as_u64)
        .ok_or_else(|| damaged("it names no layout".to_owned()))?;
    if found != LAYOUT {
        return Err(StoreError::Layout {
            path: path.to_owned(),
            found,
            expected: LAYOUT,
        });
    }
    let stored: Stored = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
    let data_type = type_from_hexadecimal(&stored.type_bytes)
        .ok_or_else(|| damaged("its type_bytes name no type".to_owned()))?;
    Ok(Declaration {
        group: stored.group,
        feature: stored.feature,
        version: stored.version,
        pipeline: stored.pipeline,
        window: stored.window,
        entity: stored.entity,
        data_type,
        document: stored.document,
    })
}

fn type_from_hexadecimal(text: &str) -> Option<DataType> {
    let bytes = (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    let mut cursor = Cursor::new(&bytes);
    let data_type = read_type(&mut cursor).ok()?;
    cursor.is_empty().then_some(data_type)
}
