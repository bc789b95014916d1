//! The first stage of a pipeline in two: it reads a topic that is not divided by the key, and gives partial
//! states to a topic that is.
//!
//! In come rows, as for every lane. Each is judged by the watermark of its own split and added to the
//! partial state of its key in its pane (`lane`). When a lane commits, all that it has goes to its outbox as
//! messages (`message`), each to the partition that its keys belong to (`divide`), and behind them a marker
//! to every partition: how far this lane has come. Then the lane has nothing. The second stage is
//! [`whole`](super::whole).
//!
//! What must never happen: that a marker is sent before what it covers, or that a message says nothing of
//! who sent it, for the second stage counts each once.

mod declared;
mod divide;
mod lane;
mod layout;
mod message;

pub(in crate::pipeline) use self::declared::check;
pub(super) use self::declared::{Repartition, repartition, upstream_name};
#[cfg(test)]
pub(super) use self::divide::streams;
pub(super) use self::lane::{PartialLane, Upstream};
pub(super) use self::layout::Layout;
#[cfg(test)]
pub(super) use self::message::Body;
pub(super) use self::message::{Message, Trouble, What, placed};
