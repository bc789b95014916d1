//! Runs that are killed and go on: what they leave is what an undisturbed run leaves.

mod kept;
mod killed;
mod stream;
