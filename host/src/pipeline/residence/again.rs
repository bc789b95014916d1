//! Windows that another version could not finish, out of the lane's database.

use bytes::Bytes;

use super::Residence;
use crate::store::embedded::Pairs;
use crate::window::{Calls, Codec, Emit, WindowError, Windows};

/// Windows that cannot be finished are kept.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Retrying {
    /// The digest of the transform at work.
    pub(in crate::pipeline) transform: String,
    /// Bytes that may be kept.
    pub(in crate::pipeline) most: u64,
}

impl Residence {
    /// Has the transform try windows again that another one could not finish. What came of that counts with the next
    /// commit. Gives how many they were.
    pub(in crate::pipeline) async fn try_again(
        &mut self,
        windows: &mut Windows,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        if calls.unfinished().is_none() {
            return Ok(0);
        }
        self.applied().await?;
        let mut tried = 0;
        let (mut after, mut rest): (Option<Bytes>, Pairs) = (None, Vec::new());
        loop {
            let (state, from) = (self.kept.state.clone(), after.clone());
            let page = async move { state.pairs(Codec::FIRST_UNFINISHED, from.as_deref()).await };
            let page = self.on_io(page).await?;
            let last = page.last().map(|(key, _)| key.clone());
            rest.extend(page);
            // The states of a window may go on with the next page.
            let is_whole = |key: &Bytes| match &last {
                Some(last) => !Codec::is_one_window(key, last),
                None => true,
            };
            let whole = rest.partition_point(|(key, _)| is_whole(key));
            let pairs: Pairs = rest.drain(..whole).collect();
            if !pairs.is_empty() {
                tried += self.try_these(&pairs, windows, calls, out).await?;
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(tried),
            }
        }
    }

    async fn try_these(
        &mut self,
        pairs: &[(Bytes, Bytes)],
        windows: &mut Windows,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let Some(unfinished) = calls.unfinished() else {
            return Ok(0);
        };
        let encoded = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
        let found = unfinished.codec().decode_unfinished(encoded)?;
        let again = found.only(&unfinished.found(&found)?)?;
        if again.windows.is_empty() {
            return Ok(0);
        }
        if self.some_absent {
            self.load_rows(windows, &again.keys, calls).await?;
        }
        windows.try_again(&again, calls, out).await?;
        Ok(again.windows.len() as u64)
    }
}
