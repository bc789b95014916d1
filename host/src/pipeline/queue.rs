//! Queues between the parts of a pipeline, bounded in bytes: a slow consumer slows its producers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages of a queue at most, however small.
const MESSAGES: usize = 256;
/// The unit in which bytes are counted.
const UNIT: usize = 1024;

/// The other end of a queue is gone: that part of the pipeline has ended, and says why itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the next part of the pipeline has ended")]
pub(super) struct Closed;

/// The end that puts messages in.
#[derive(Debug)]
pub(super) struct Sender<T> {
    messages: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    units: u32,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            messages: self.messages.clone(),
            room: Arc::clone(&self.room),
            units: self.units,
        }
    }
}

/// The end that takes messages out.
#[derive(Debug)]
pub(super) struct Receiver<T> {
    messages: mpsc::Receiver<(T, OwnedSemaphorePermit)>,
}

/// How full a queue is, for anybody who asks.
#[derive(Debug)]
pub struct QueueFill {
    room: Arc<Semaphore>,
    units: u32,
}

impl QueueFill {
    /// Bytes that wait in it, in units of 1 KiB.
    pub fn bytes(&self) -> u64 {
        let free = self.room.available_permits();
        ((self.units as usize).saturating_sub(free) * UNIT) as u64
    }

    /// Bytes that it holds at most.
    pub fn bound(&self) -> u64 {
        u64::from(self.units) * UNIT as u64
    }
}

/// A queue of at most `bytes`. A single message larger than that waits until the queue is empty.
pub(super) fn queue<T>(bytes: usize) -> (Sender<T>, Receiver<T>) {
    queue_of(bytes, MESSAGES)
}

/// The same, of so many messages at most.
pub(super) fn queue_of<T>(bytes: usize, messages: usize) -> (Sender<T>, Receiver<T>) {
    let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
    let (sender, receiver) = mpsc::channel(messages);
    let sender = Sender {
        messages: sender,
        room: Arc::new(Semaphore::new(units as usize)),
        units,
    };
    (sender, Receiver { messages: receiver })
}

impl<T> Sender<T> {
    /// Waits for room, and puts a message in that counts as `bytes`.
    pub(super) async fn send(&self, message: T, bytes: usize) -> Result<(), Closed> {
        let units = u32::try_from(bytes / UNIT)
            .unwrap_or(u32::MAX)
            .clamp(1, self.units);
        tokio::select! {
            biased;
            () = self.messages.closed() => Err(Closed),
            permit = Arc::clone(&self.room).acquire_many_owned(units) => {
                let permit = permit.map_err(|_| Closed)?;
                self.messages.send((message, permit)).await.map_err(|_| Closed)
            }
        }
    }

    /// Puts a message in if there is room for it now. Gives whether there was.
    pub(super) fn try_send(&self, message: T, bytes: usize) -> bool {
        let units = u32::try_from(bytes / UNIT)
            .unwrap_or(u32::MAX)
            .clamp(1, self.units);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units);
        permit.is_ok_and(|permit| self.messages.try_send((message, permit)).is_ok())
    }

    /// How full the queue is, from now on.
    pub(super) fn fill(&self) -> QueueFill {
        QueueFill {
            room: Arc::clone(&self.room),
            units: self.units,
        }
    }

    /// As [`Sender::send`], for a thread of its own.
    pub(super) fn send_blocking(&self, message: T, bytes: usize) -> Result<(), Closed> {
        futures::executor::block_on(self.send(message, bytes))
    }
}

impl<T> Receiver<T> {
    /// The next message; none when all senders are gone. Its room is free as soon as it is taken.
    pub(super) async fn receive(&mut self) -> Option<T> {
        self.messages.recv().await.map(|(message, _)| message)
    }

    /// As [`Receiver::receive`], for a thread of its own.
    pub(super) fn receive_blocking(&mut self) -> Option<T> {
        self.messages.blocking_recv().map(|(message, _)| message)
    }
}
