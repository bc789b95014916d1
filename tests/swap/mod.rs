//! Versions of transforms, and pipelines that go from one to another while they run.

mod features;
mod fresh;
mod history;
mod hosts;
mod killed;
mod live;
mod meanwhile;
mod migrated;
mod over_http;
mod refused;
mod registry;
mod registry_away;
mod replayed;
mod rolled_back;
mod shadowed;
mod unfinished;
mod versions;
