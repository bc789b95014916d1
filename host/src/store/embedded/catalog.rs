//! The declarations of a store: a small file for each version of each feature.
//!
//! Files and not a database, because several processes declare and read at once, and because a person can read them.
//! What finding a feature needs (pipeline, window, type) never changes once declared; so what was read of a version
//! stays true, and a reader has to look at names alone to see what is new.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::folder::{Folder, decode_name, encode_name};
use crate::store::item::bytes::Cursor;
use crate::store::item::types::{read_type, write_type};
use crate::store::{Declaration, FeatureName, StoreError};

/// The layout of a declaration's file that this code writes, and the only one that it reads.
const LAYOUT: u64 = 1;

const DECLARATIONS: &str = "declarations";

/// The versions of a group's features that were read so far.
type Group = BTreeMap<(String, u32), Arc<Declaration>>;

/// The declarations of one store.
#[derive(Debug)]
pub(super) struct Catalog {
    folder: Folder,
    read: Mutex<HashMap<String, Group>>,
}

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

impl Catalog {
    pub(super) fn new(folder: Folder) -> Self {
        Self {
            folder,
            read: Mutex::default(),
        }
    }

    /// Writes declarations whose lookup parts agree with what is there already.
    pub(super) async fn declare(&self, declarations: &[Declaration]) -> Result<(), StoreError> {
        for declaration in declarations {
            let name = file(
                &declaration.group,
                &declaration.feature,
                declaration.version,
            );
            if let Some(before) = self.read(&name).await? {
                check_same_place(&before, declaration)?;
                if before == *declaration {
                    continue;
                }
            }
            self.folder
                .write(&name, encode(declaration)?.into())
                .await?;
        }
        Ok(())
    }

    /// Every declaration of a group, or of all, in order.
    pub(super) async fn list(&self, group: Option<&str>) -> Result<Vec<Declaration>, StoreError> {
        let groups = match group {
            Some(group) => vec![group.to_owned()],
            None => self.groups().await?,
        };
        let mut found = Vec::new();
        for group in groups {
            for (feature, version) in self.versions(&group).await? {
                found.push(self.read_there(&file(&group, &feature, version)).await?);
            }
        }
        Ok(found)
    }

    /// Where the features that are asked for are to be found, in the order asked.
    pub(super) async fn find(
        &self,
        group: &str,
        features: &[FeatureName],
    ) -> Result<Vec<Arc<Declaration>>, StoreError> {
        let versions = self.versions(group).await?;
        if versions.is_empty() {
            return Err(StoreError::UnknownGroup {
                group: group.to_owned(),
                known: self.groups().await?,
                store: self.folder.path().display().to_string(),
            });
        }
        let mut found = Vec::with_capacity(features.len());
        for asked in features {
            let place = versions
                .iter()
                .rfind(|(name, v)| *name == asked.name && asked.version.is_none_or(|a| a == *v))
                .ok_or_else(|| unknown(group, asked, &versions))?;
            let known = self.known().get(group).and_then(|group| {
                let declaration = group.get(place)?;
                Some(Arc::clone(declaration))
            });
            let declaration = match known {
                Some(declaration) => declaration,
                None => Arc::new(self.read_there(&file(group, &place.0, place.1)).await?),
            };
            let mut known = self.known();
            let group = known.entry(group.to_owned()).or_default();
            group.insert(place.clone(), Arc::clone(&declaration));
            found.push(declaration);
        }
        Ok(found)
    }

    /// What was read so far. It is only ever added to, so a panic elsewhere cannot have left it half changed.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups that have declarations, in order.
    async fn groups(&self) -> Result<Vec<String>, StoreError> {
        let names = self.folder.names(DECLARATIONS).await?;
        let mut groups: Vec<String> = names.iter().filter_map(|name| decode_name(name)).collect();
        groups.sort_unstable();
        Ok(groups)
    }

    /// The versions of a group's features, in order.
    async fn versions(&self, group: &str) -> Result<Vec<(String, u32)>, StoreError> {
        let names = self.folder.names(&group_folder(group)).await?;
        let mut versions: Vec<(String, u32)> = names
            .iter()
            .filter_map(|name| {
                let (feature, version) = name.strip_suffix(".json")?.rsplit_once('@')?;
                Some((decode_name(feature)?, version.parse().ok()?))
            })
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// The declaration in a file; none if it is not there.
    async fn read(&self, name: &str) -> Result<Option<Declaration>, StoreError> {
        let found = self.folder.read(name).await?;
        let path = self.folder.path().join(name);
        let read = found.map(|found| decode(&path, &found.bytes));
        read.transpose()
    }

    /// The declaration in a file that was seen to be there.
    async fn read_there(&self, name: &str) -> Result<Declaration, StoreError> {
        let gone = || StoreError::Damaged {
            path: self.folder.path().join(name),
            reason: "it is listed, and not there".to_owned(),
        };
        self.read(name).await?.ok_or_else(gone)
    }
}

fn group_folder(group: &str) -> String {
    format!("{DECLARATIONS}/{}", encode_name(group))
}

fn file(group: &str, feature: &str, version: u32) -> String {
    let feature = encode_name(feature);
    format!("{}/{feature}@{version}.json", group_folder(group))
}

fn unknown(group: &str, asked: &FeatureName, versions: &[(String, u32)]) -> StoreError {
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

fn check_same_place(before: &Declaration, now: &Declaration) -> Result<(), StoreError> {
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

fn type_bytes(declaration: &Declaration) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    write_type(&declaration.data_type, &mut bytes).map_err(|source| StoreError::Value {
        group: declaration.group.clone(),
        feature: declaration.feature.clone(),
        source,
    })?;
    Ok(bytes)
}

fn encode(declaration: &Declaration) -> Result<Vec<u8>, StoreError> {
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

fn decode(path: &Path, text: &[u8]) -> Result<Declaration, StoreError> {
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
