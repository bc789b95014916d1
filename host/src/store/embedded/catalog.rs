//! The declarations of a store: a small file for each version of each feature.
//!
//! Files and not a database, because several processes declare and read at once, and because a person can read them.
//! What finding a feature needs (pipeline, window, type) never changes once declared; so what was read of a version
//! stays true, and a reader has to look at names alone to see what is new.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::folder::{Folder, decode_name, encode_name};
use crate::store::declared::{check_same_place, decode, encode, unknown};
use crate::store::{Declaration, FeatureName, StoreError};

const DECLARATIONS: &str = "declarations";

/// The versions of a group's features that were read so far.
type Group = BTreeMap<(String, u32), Arc<Declaration>>;

/// The declarations of one store.
#[derive(Debug)]
pub(super) struct Catalog {
    folder: Folder,
    read: Mutex<HashMap<String, Group>>,
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
