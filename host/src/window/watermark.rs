//! How far event time has come, split by split.

use std::collections::BTreeSet;

/// The progress of the splits that feed some lanes, and the watermark that follows from it.
///
/// A split's progress is the greatest event time that was seen of it; its watermark is that less
/// the allowed disorder; the watermark of all is the least of the live splits'. A split of which
/// nothing was seen yet holds it back entirely. It never falls.
///
/// A split is live, idle, or ended. An idle one holds nothing back until something is seen of it; an
/// ended one stays ended.
#[derive(Debug, Clone)]
pub struct Watermark {
    disorder: i64,
    greatest: Vec<i64>,
    ended: Vec<bool>,
    /// The live splits by their progress, least first.
    live: BTreeSet<(i64, usize)>,
    /// The greatest that it ever was.
    highest: i64,
}

impl Watermark {
    /// `splits` live splits of which nothing was seen; `disorder` in microseconds.
    pub fn new(splits: usize, disorder: i64) -> Self {
        Self {
            disorder,
            greatest: vec![i64::MIN; splits],
            ended: vec![false; splits],
            live: (0..splits).map(|split| (i64::MIN, split)).collect(),
            highest: i64::MIN,
        }
    }

    /// An event time of a split was seen. An idle split is live again.
    pub fn see(&mut self, split: usize, event_time: i64) {
        if self.ended[split] {
            return;
        }
        let before = self.greatest[split];
        if event_time > before {
            self.live.remove(&(before, split));
            self.greatest[split] = event_time;
        }
        // Most calls see nothing new of a live split; then the set already has it.
        self.live.insert((self.greatest[split], split));
    }

    /// A split has nothing more for now, as its source confirms: until something is seen of it, it
    /// holds the watermark back no longer.
    pub fn idle(&mut self, split: usize) {
        self.live.remove(&(self.greatest[split], split));
    }

    /// A split has been read to its end: it holds the watermark back no longer.
    pub fn end(&mut self, split: usize) {
        self.live.remove(&(self.greatest[split], split));
        self.ended[split] = true;
    }

    /// The watermark by now, in microseconds; `i64::MIN` before there is one. While no split is live,
    /// it stays where it is.
    pub fn rise(&mut self) -> i64 {
        if let Some((progress, _)) = self.live.first() {
            self.highest = self.highest.max(self.of(*progress));
        }
        self.highest
    }

    /// The watermark by now where idle splits let time go on: while no split is live, it is the
    /// greatest event time that was seen of any. The disorder is not taken off it, because nobody is
    /// left to be out of order.
    pub fn advance(&mut self) -> i64 {
        if self.live.is_empty() {
            let greatest = self.greatest.iter().copied().max().unwrap_or(i64::MIN);
            self.highest = self.highest.max(greatest);
        }
        self.rise()
    }

    /// The greatest event time that was seen of a split; `i64::MIN` if none was.
    pub fn greatest(&self, split: usize) -> i64 {
        self.greatest[split]
    }

    /// The greatest event time that was seen of any split; `i64::MIN` if none was.
    pub fn furthest(&self) -> i64 {
        self.greatest.iter().copied().max().unwrap_or(i64::MIN)
    }

    /// The live split with the least progress, and that progress; none if no split is live.
    pub fn least(&self) -> Option<(usize, i64)> {
        let (progress, split) = self.live.first()?;
        Some((*split, *progress))
    }

    /// The least progress of the live splits other than `split`; `i64::MAX` if there are none.
    pub fn others(&self, split: usize) -> i64 {
        let mut others = self.live.iter().filter(|(_, other)| *other != split);
        others.next().map_or(i64::MAX, |(progress, _)| *progress)
    }

    /// The watermark that a progress amounts to.
    pub fn of(&self, progress: i64) -> i64 {
        progress.saturating_sub(self.disorder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_idle_split_holds_nothing_back_until_it_is_seen() {
        let mut watermark = Watermark::new(2, 10);
        watermark.see(0, 100);
        assert_eq!(watermark.rise(), i64::MIN, "of the other nothing was seen");
        watermark.idle(1);
        assert_eq!(watermark.rise(), 90);
        watermark.see(1, 50);
        assert_eq!(watermark.least(), Some((1, 50)));
        assert_eq!(watermark.rise(), 90, "it never falls");
        watermark.see(1, 150);
        assert_eq!(watermark.rise(), 90);
        watermark.see(0, 130);
        assert_eq!(watermark.rise(), 120);
    }

    #[test]
    fn with_all_splits_idle_it_stays_or_takes_the_disorder_in() {
        let mut watermark = Watermark::new(2, 10);
        assert_eq!(watermark.advance(), i64::MIN);
        watermark.see(0, 100);
        watermark.see(1, 70);
        watermark.idle(0);
        assert_eq!((watermark.rise(), watermark.advance()), (60, 60));
        watermark.idle(1);
        assert_eq!(watermark.rise(), 60);
        assert_eq!(watermark.advance(), 100);
        watermark.see(1, 80);
        assert_eq!((watermark.rise(), watermark.advance()), (100, 100));
    }

    /// What happens to a split.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        See(i64),
        Idle,
        End,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum State {
        Live,
        Idle,
        Ended,
    }

    fn steps() -> impl Strategy<Value = (usize, Vec<(usize, Step)>)> {
        let step = prop_oneof![
            6 => (-50_i64..50).prop_map(Step::See),
            3 => Just(Step::Idle),
            1 => Just(Step::End),
        ];
        (1_usize..=4).prop_flat_map(move |splits| {
            let steps = prop::collection::vec((0..splits, step.clone()), 0..60);
            (Just(splits), steps)
        })
    }

    proptest! {
        #[test]
        fn it_is_what_a_plain_model_says((splits, steps) in steps(), disorder in 0_i64..20, advancing: bool) {
            let mut watermark = Watermark::new(splits, disorder);
            let mut model = vec![(State::Live, i64::MIN); splits];
            let mut expected = i64::MIN;
            for (split, step) in steps {
                let (state, greatest) = &mut model[split];
                match step {
                    Step::See(time) => {
                        watermark.see(split, time);
                        if *state != State::Ended {
                            *state = State::Live;
                            *greatest = (*greatest).max(time);
                        }
                    }
                    Step::Idle => {
                        watermark.idle(split);
                        if *state == State::Live {
                            *state = State::Idle;
                        }
                    }
                    Step::End => {
                        watermark.end(split);
                        *state = State::Ended;
                    }
                }
                let live = model.iter().filter(|(state, _)| *state == State::Live);
                let all = model.iter().map(|(_, greatest)| *greatest).max().unwrap();
                let now = match live.map(|(_, greatest)| *greatest).min() {
                    Some(least) => least.saturating_sub(disorder),
                    None if advancing => all,
                    None => i64::MIN,
                };
                let before = expected;
                expected = expected.max(now);
                let shown = if advancing { watermark.advance() } else { watermark.rise() };
                prop_assert_eq!(shown, expected);
                prop_assert!(shown >= before);
                for (split, (_, greatest)) in model.iter().enumerate() {
                    prop_assert_eq!(watermark.greatest(split), *greatest);
                }
                prop_assert_eq!(watermark.furthest(), all);
            }
        }
    }
}
