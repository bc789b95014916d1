//! A cache of items in front of any store.
//!
//! In come lookups, of which each missing item is loaded once however many ask for it, and what is written to the store,
//! which tells the caches in front of it ([`Caches`]). Out go items that are never behind what was written through this
//! store, and behind what others have written by at most the `max_age` that the cache was made with.
//!
//! What it must never do: let what a load brings take the place of something newer. A load reads the store at some
//! moment, and a write may come after that moment and before the load is done. So whatever meets is *merged* as items
//! are, attribute by attribute, the newest winning, and a write leaves itself with every load of its item that is
//! under way. An item of which nothing was ever written is held as such, and is older than anything. What nothing has come
//! into for longer than `max_age` meets nothing any more: a rollback may have taken it back from the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hashbrown::DefaultHashBuilder;
use moka::future::Cache as Held;
use moka::ops::compute::Op;
use tokio::sync::watch;

use super::declared::resolve;
use super::figures::CacheFigures;
use super::item;
use super::known::{GOOD_FOR, Known, KnownGroups};
use super::{Before, Declaration, FeatureName, FeatureReader, ItemPlace, Items, StoreError};

/// What an entry costs beside its key and its item, about.
const ENTRY_BYTES: u64 = 128;

/// What is not declared is looked for at most so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type Key = Vec<u8>;

/// An item as it was at some moment.
#[derive(Debug, Clone)]
struct Entry {
    item: Option<Bytes>,
    /// When the store was asked for it: before this moment nothing is missing in it.
    asked: Instant,
    /// When anything came into it last.
    touched: Instant,
}

/// A load that is under way.
#[derive(Debug)]
struct Loading {
    /// What was written since it began, merged.
    written: Option<Vec<u8>>,
    /// Whether something was taken back since it began, which it may have read before: then it is not held.
    taken_back: bool,
    /// Becomes true when it is over, however it ended.
    done: watch::Sender<bool>,
}

/// Items that were read or written a short while ago.
#[derive(Debug)]
struct ItemCache {
    max_age: Duration,
    held: Held<Key, Entry, DefaultHashBuilder>,
    loading: Mutex<HashMap<Key, Loading>>,
    figures: Arc<CacheFigures>,
}

/// The caches in front of a store, which hear of what is written there once it can be read.
#[derive(Debug, Default, Clone)]
pub struct Caches(Arc<RwLock<Vec<Weak<ItemCache>>>>);

/// A store behind a cache.
#[derive(Debug)]
pub struct Cached<S: ?Sized> {
    cache: Arc<ItemCache>,
    groups: KnownGroups,
    store: Arc<S>,
}

impl Caches {
    fn add(&self, cache: &Arc<ItemCache>) {
        let mut caches = self.0.write().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(Arc::downgrade(cache));
    }

    fn all(&self) -> Vec<Arc<ItemCache>> {
        let caches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        caches.iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether there are none: then nobody need be told of anything.
    pub(super) fn is_empty(&self) -> bool {
        let caches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        caches.is_empty()
    }

    /// Items were written, and can be read.
    pub(super) async fn written(&self, items: &Items) {
        for cache in self.all() {
            for (entity, item) in items.iter() {
                let place = ItemPlace {
                    group: &items.group,
                    pipeline: &items.pipeline,
                    window: &items.window,
                    entity: std::str::from_utf8(entity).expect("entities are texts"),
                };
                cache.written(&place, item).await;
            }
        }
    }

    /// An item was written, and can be read.
    pub(super) async fn written_one(&self, place: &ItemPlace<'_>, item: &[u8]) {
        for cache in self.all() {
            cache.written(place, item).await;
        }
    }

    /// What was written of items has been taken back.
    pub(super) async fn taken_back(&self, items: &[Before]) {
        for cache in self.all() {
            for item in items {
                cache.forget(&key_of(&item.place())).await;
            }
        }
    }
}

impl ItemCache {
    /// A cache of at most so many bytes.
    fn new(bytes: u64, max_age: Duration) -> Self {
        let weigh = |key: &Key, entry: &Entry| {
            let item = entry.item.as_ref().map_or(0, Bytes::len);
            let bytes = (key.len() + item) as u64 + ENTRY_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            max_age,
            held: (Held::builder().max_capacity(bytes).weigher(weigh))
                .build_with_hasher(DefaultHashBuilder::default()),
            loading: Mutex::default(),
            figures: Arc::default(),
        }
    }

    /// How many items are held, and their bytes, about.
    fn size(&self) -> (u64, u64) {
        (self.held.entry_count(), self.held.weighted_size())
    }

    fn loading(&self) -> MutexGuard<'_, HashMap<Key, Loading>> {
        // Every change is whole before anything can panic.
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held at a key and good at a moment.
    async fn look(&self, key: &[u8], now: Instant) -> Option<Entry> {
        let entry = self.held.get(key).await?;
        if now.saturating_duration_since(entry.asked) <= self.max_age {
            return Some(entry);
        }
        self.figures.expired.one();
        None
    }

    /// The items at some places: those that are held, and others from the store.
    async fn read(
        &self,
        store: &(impl FeatureReader + ?Sized),
        places: &[ItemPlace<'_>],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut found: Vec<Option<Entry>> = Vec::with_capacity(places.len());
        // Most are there: one moment and one buffer are enough for all of them.
        let (now, mut key) = (Instant::now(), Key::new());
        for place in places {
            key.clear();
            write_key(place, &mut key);
            let entry = self.look(&key, now).await;
            if let Some(entry) = &entry {
                self.figures
                    .answered(now.saturating_duration_since(entry.asked));
                if entry.item.is_none() {
                    self.figures.absent_hits.one();
                }
            }
            found.push(entry);
        }
        let keys: Vec<Key> = match found.iter().all(Option::is_some) {
            true => Vec::new(),
            false => places.iter().map(key_of).collect(),
        };
        loop {
            let (ours, theirs) = self.divide(&keys, &found);
            if ours.is_empty() && theirs.is_empty() {
                let items = found
                    .into_iter()
                    .map(|entry| entry.and_then(|entry| entry.item));
                return Ok(items.collect());
            }
            if !ours.is_empty() {
                let loaded = self.load(store, &ours, &keys, places).await?;
                for (at, entry) in loaded {
                    // A key may be there twice.
                    let same = (0..keys.len()).filter(|other| keys[*other] == keys[at]);
                    same.for_each(|other| found[other] = Some(entry.clone()));
                }
            }
            for (at, mut done) in theirs {
                // An error says that whoever loaded it is gone, which is as good as done.
                let _ = done.wait_for(|done| *done).await;
                // If it failed, the next round loads it here.
                if found[at].is_none() {
                    found[at] = self.look(&keys[at], Instant::now()).await;
                }
            }
        }
    }

    /// Of what is not found, what is to be loaded here and what is being loaded. What is to be loaded here is said to be
    /// so from now on.
    fn divide(
        &self,
        keys: &[Key],
        found: &[Option<Entry>],
    ) -> (Vec<usize>, Vec<(usize, watch::Receiver<bool>)>) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let missing = (0..keys.len()).filter(|at| found[*at].is_none());
        let mut missing = missing.peekable();
        if missing.peek().is_none() {
            return (ours, theirs);
        }
        let mut loading = self.loading();
        for at in missing {
            match loading.get(&keys[at]) {
                // The same key twice in one lookup is loaded once, and found by whoever loads it.
                Some(_) if ours.iter().any(|other: &usize| keys[*other] == keys[at]) => {}
                Some(other) => {
                    self.figures.joined.one();
                    theirs.push((at, other.done.subscribe()));
                }
                None => {
                    self.figures.misses.one();
                    let load = Loading {
                        written: None,
                        taken_back: false,
                        done: watch::Sender::new(false),
                    };
                    loading.insert(keys[at].clone(), load);
                    ours.push(at);
                }
            }
        }
        (ours, theirs)
    }

    /// Loads items that were said to be loaded here.
    async fn load(
        &self,
        store: &(impl FeatureReader + ?Sized),
        ours: &[usize],
        keys: &[Key],
        places: &[ItemPlace<'_>],
    ) -> Result<Vec<(usize, Entry)>, StoreError> {
        // Also where this is given up half-way: nobody may wait for a load that nobody does.
        let mut owned = Owned {
            loading: &self.loading,
            keys: ours.iter().map(|at| keys[*at].clone()).collect(),
        };
        let asked = Instant::now();
        let wanted: Vec<ItemPlace<'_>> = ours.iter().map(|at| places[*at]).collect();
        let loaded = store.items(&wanted).await;
        let loaded = loaded.inspect_err(|_| self.figures.failed.one())?;
        let mut entries = Vec::with_capacity(ours.len());
        for (at, item) in ours.iter().zip(loaded) {
            let place = &places[*at];
            let entry = self.keep(&keys[*at], item, asked, place).await?;
            entries.push((*at, entry));
            owned.keys.retain(|key| *key != keys[*at]);
        }
        let (count, bytes) = self.size();
        self.figures.holds(count, bytes);
        Ok(entries)
    }

    /// Holds what a load brought, with what is held and what was written since it began, and ends the load.
    async fn keep(
        &self,
        key: &Key,
        loaded: Option<Bytes>,
        asked: Instant,
        place: &ItemPlace<'_>,
    ) -> Result<Entry, StoreError> {
        let mut answer = None;
        let put = |before: Option<moka::Entry<Key, Entry>>| {
            let now = (|| {
                let mut entry = Entry {
                    item: loaded.clone(),
                    asked,
                    touched: asked,
                };
                // Here and no sooner: the changes of one key happen one after the other, and a write leaves itself with
                // the load before it changes what is held. So either it is here, or its change comes after this one.
                let mut loading = self.loading();
                let load = loading.get_mut(key);
                let load = load.map(|load| (load.written.take(), load.taken_back));
                let (written, taken_back) = load.unwrap_or_default();
                drop(loading);
                if let Some(written) = written {
                    entry.item = merged(entry.item.as_ref(), &written, place)?;
                }
                // What is older than that does not count: the store has it, or it was taken back there.
                let is_new = |before: &Entry| {
                    asked.saturating_duration_since(before.touched) <= self.max_age
                };
                let before = before.map(moka::Entry::into_value);
                if let Some(before) = before.filter(is_new) {
                    if let Some(before) = &before.item {
                        entry.item = merged(entry.item.as_ref(), before, place)?;
                    }
                    entry.asked = before.asked.max(asked);
                    entry.touched = before.touched.max(asked);
                }
                answer = Some(entry.clone());
                Ok::<_, StoreError>(match taken_back {
                    true => Op::Nop,
                    false => Op::Put(entry),
                })
            })();
            std::future::ready(now)
        };
        self.held
            .entry_by_ref(key)
            .and_try_compute_with(put)
            .await?;
        if let Some(load) = self.loading().remove(key) {
            load.done.send_replace(true);
        }
        Ok(answer.expect("it was made"))
    }

    /// Merges what was written into what is held, or is being loaded.
    async fn written(&self, place: &ItemPlace<'_>, item: &[u8]) {
        let key = key_of(place);
        if self.merge(&key, place, item).await.is_err() {
            // What cannot be merged is damaged, here or in the store, which will say so to whoever reads it.
            self.forget(&key).await;
        }
    }

    async fn merge(&self, key: &Key, place: &ItemPlace<'_>, item: &[u8]) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut is_loading = false;
        if let Some(load) = self.loading().get_mut(key) {
            let before = load.written.take();
            let before = before.map(Bytes::from);
            load.written = merged(before.as_ref(), item, place)?.map(Vec::from);
            is_loading = true;
        }
        // What is not held stays so, because an item that was written need not be all that there is. Where it is
        // being loaded, it may be held at any moment, without this if its load did not find this any more.
        if !is_loading && !self.held.contains_key(key) {
            return Ok(());
        }
        let put = |before: Option<moka::Entry<Key, Entry>>| {
            let op = match before.map(moka::Entry::into_value) {
                None => Ok(Op::Nop),
                Some(Entry {
                    item: held, asked, ..
                }) => merged(held.as_ref(), item, place).map(|item| {
                    Op::Put(Entry {
                        item,
                        asked,
                        touched: now,
                    })
                }),
            };
            std::future::ready(op)
        };
        self.held
            .entry_by_ref(key)
            .and_try_compute_with(put)
            .await?;
        Ok(())
    }

    /// Holds nothing of an item any more, and nothing of what a load brings that is under way.
    async fn forget(&self, key: &Key) {
        if let Some(load) = self.loading().get_mut(key) {
            load.written = None;
            load.taken_back = true;
        }
        // As the changes of one key happen one after the other: a load ends before this, or sees what was said to it.
        let gone = |_| std::future::ready(Op::Remove);
        self.held.entry_by_ref(key).and_compute_with(gone).await;
    }
}

impl<S: FeatureReader + ?Sized> Cached<S> {
    /// A cache of at most so many bytes in front of a store, which tells it of what is written through it. An item that
    /// was read longer than `max_age` ago is read again before it is answered with: the bound on how far answers are
    /// behind what others write.
    #[must_use]
    pub fn new(store: Arc<S>, bytes: u64, max_age: Duration) -> Self {
        let cache = Arc::new(ItemCache::new(bytes, max_age));
        // Before anything is loaded: of what is written from now on it hears.
        if let Some(caches) = store.caches() {
            caches.add(&cache);
        }
        Self {
            cache,
            groups: KnownGroups::default(),
            store,
        }
    }

    /// What the cache tells while it works.
    pub fn figures(&self) -> &Arc<CacheFigures> {
        &self.cache.figures
    }

    async fn group(&self, group: &str, good_for: Duration) -> Result<Known, StoreError> {
        if let Some(known) = self.groups.get(group, good_for) {
            return Ok(known);
        }
        let asked = Instant::now();
        let found = self.store.declarations(Some(group)).await?;
        Ok(self.groups.keep(group, asked, found))
    }
}

/// Loads that are to be ended however whoever does them ends.
struct Owned<'a> {
    loading: &'a Mutex<HashMap<Key, Loading>>,
    keys: Vec<Key>,
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            if let Some(load) = loading.remove(key) {
                load.done.send_replace(true);
            }
        }
    }
}

fn merged(
    one: Option<&Bytes>,
    other: &[u8],
    place: &ItemPlace<'_>,
) -> Result<Option<Bytes>, StoreError> {
    let Some(one) = one else {
        return Ok(Some(Bytes::copy_from_slice(other)));
    };
    let merged = item::merge(&[one, other]).map_err(|source| StoreError::Item {
        group: place.group.to_owned(),
        entity: place.entity.to_owned(),
        source,
    })?;
    Ok(Some(merged.into()))
}

fn key_of(place: &ItemPlace<'_>) -> Key {
    let mut key = Key::new();
    write_key(place, &mut key);
    key
}

/// The parts of a place, each after its length.
fn write_key(place: &ItemPlace<'_>, key: &mut Key) {
    let parts = [place.group, place.pipeline, place.window, place.entity];
    key.reserve(parts.iter().map(|part| part.len() + 2).sum());
    for part in parts {
        item::bytes::put_text(part, key);
    }
}

impl<S: FeatureReader + ?Sized> FeatureReader for Cached<S> {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        self.store.declarations(group)
    }

    fn find<'a>(
        &'a self,
        group: &'a str,
        features: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        async move {
            let known = self.group(group, GOOD_FOR).await?;
            let found = resolve(group, &known, features);
            if found.is_ok() && !known.is_empty() {
                return found;
            }
            // It may be new.
            let known = self.group(group, LOOK_EVERY).await?;
            match known.is_empty() {
                // The store knows which groups there are.
                true => self.store.find(group, features).await,
                false => resolve(group, &known, features),
            }
        }
        .boxed()
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.cache.read(self.store.as_ref(), places).boxed()
    }

    fn unix(&self) -> i64 {
        self.store.unix()
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
